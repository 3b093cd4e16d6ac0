"""The report on fixed points."""

import jax.numpy as jnp
import numpy as np

from experiments.flip_flop.report import Result, format_summaries, summarize
from grujax import analysis
from grujax.analysis import Stability


def test_a_row_counts_growing_directions():
    kinds = [Stability.STABLE, Stability.SADDLE, Stability.SADDLE, Stability.SLOW, Stability.NONE]
    eigenvalues = jnp.array([[0.5, 0.1], [1.5, 0.1], [-1.2, 1.1], [1.0, 0.1], [jnp.nan] * 2])
    found = analysis.FixedPoints(
        points=jnp.zeros((5, 2)),
        residuals=jnp.array([1e-8, 3e-7, 2e-7, 5e-4, jnp.nan]),
        eigenvalues=eigenvalues,
        stability=jnp.array(kinds),
        num_starts=jnp.ones(5, int),
        num_found=jnp.int32(4),
    )
    summary = summarize(Result(0.5, 1, found, np.zeros((3, 2, 2))))
    row = format_summaries({"name": summary}).splitlines()[1]
    assert " ".join(row.split()) == "name 50.00% 1 1 1 + 1 + 0 0 1 3.0e-07"
    assert summary.saddles == [1, 1, 0]
