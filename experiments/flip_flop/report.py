"""The report of `experiments.flip_flop`: accuracy, and the fixed points of trained GRUs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.outputs import write_figure
from experiments.common.report import format_table
from experiments.flip_flop.data import BITS, Sequences
from experiments.flip_flop.model import FlipFlop
from grujax import analysis
from grujax.analysis import FixedPoints, Stability

HEADER = ["", "correct", "stable", "memories", "saddles 1+2+3", "more", "slow", "‖F(h) − h‖"]


class Result(NamedTuple):
    """How one network does, and its fixed points without input."""

    accuracy: float  # fraction of test steps at which all three bits are correct
    memories: int  # how many of the 8 memories have a stable fixed point
    found: FixedPoints
    hs: np.ndarray  # [T, N, H], states on test sequences


def analyze(model: FlipFlop, params: Any, test: Sequences) -> Result:
    """Tests a network on sequences, and finds its fixed points from the states it visits."""
    outputs: Any = model.apply(params, test.pulses)
    memory, hs = outputs
    correct = jnp.all((memory > 0) == (test.memory > 0), axis=-1).mean()

    gru = model.apply(params, method="gru_params")
    starts = analysis.sample_states(jax.random.key(103), hs, 1024, noise=0.6)
    found = jax.jit(analysis.find_fixed_points)(gru, jnp.zeros(BITS), starts)
    stable: Any = model.apply(params, found.of(Stability.STABLE), method="read")
    memories = {tuple(signs) for signs in np.sign(np.asarray(stable)).tolist()}
    return Result(float(correct), len(memories), found, np.swapaxes(hs, 0, 1))


class Summary(NamedTuple):
    """The numbers of one network, as in results.json."""

    correct: float  # fraction of test steps at which all three bits are correct
    stable: int  # fixed points of each kind
    memories: int  # that have a stable fixed point
    saddles: list[int]  # with one, two and three growing directions
    more: int  # with more growing directions
    slow: int
    residual: float  # the largest ‖F(h) − h‖


def summarize(result: Result) -> Summary:
    """Counts the fixed points of a network; saddles by their growing directions."""
    found, kinds = result.found, np.asarray(result.found.stability)
    saddles = np.asarray(found.eigenvalues)[kinds == Stability.SADDLE]
    growing = np.sum(np.abs(saddles) > 1, axis=-1)
    fixed = np.isin(kinds, (Stability.STABLE, Stability.SADDLE, Stability.UNSTABLE))
    return Summary(
        correct=result.accuracy,
        stable=int(np.sum(kinds == Stability.STABLE)),
        memories=result.memories,
        saddles=[int(np.sum(growing == count)) for count in (1, 2, 3)],
        more=int(np.sum(growing > 3)),
        slow=int(np.sum(kinds == Stability.SLOW)),
        residual=float(np.asarray(found.residuals)[fixed].max(initial=0)),
    )


def format_summaries(summaries: Mapping[str, Summary]) -> str:
    """The table, one row per network."""
    rows = [
        [
            name,
            f"{summary.correct:.2%}",
            str(summary.stable),
            str(summary.memories),
            " + ".join(map(str, summary.saddles)),
            str(summary.more),
            str(summary.slow),
            f"{summary.residual:.1e}",
        ]
        for name, summary in summaries.items()
    ]
    return format_table(HEADER, rows)


def draw(directory: Path, result: Result) -> None:
    """Draws the fixed points among trajectories, and the eigenvalues at the stable ones."""
    found = result.found
    states = analysis.plot_state_space(result.hs, found)
    write_figure(directory / "fixed_points.png", states)
    stable = np.asarray(found.eigenvalues)[np.asarray(found.stability) == Stability.STABLE]
    title = "eigenvalues at the stable fixed points"
    eigenvalues = analysis.plot_eigenvalues(stable, title=title)
    write_figure(directory / "eigenvalues.png", eigenvalues)
