"""The flip-flop experiment, from end to end on its small network."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.flip_flop import train as flip_flop
from grujax import analysis
from grujax.analysis import Stability
from tests.helpers import ROOT


@pytest.mark.slow
def test_the_whole_experiment(tmp_path, capsys):
    flip_flop.main(flip_flop.Command(quick=True, out=tmp_path))
    printed = capsys.readouterr().out
    untrained, trained = json.loads((tmp_path / "results.json").read_text())
    assert all(len(row) == len(flip_flop.HEADER) for row in (untrained, trained))
    assert trained[2:4] == ["8", "8"]  # eight stable fixed points, one for each memory
    assert float(trained[1].rstrip("%")) > 99
    assert float(trained[-1]) <= 1e-6
    assert untrained[2] == "1"
    assert "\nseed0 " in printed
    for plot in ("learning_curves", "seed0/fixed_points", "seed0/eigenvalues"):
        assert (tmp_path / f"{plot}.png").read_bytes().startswith(b"\x89PNG")

    flip_flop.main(flip_flop.Command(out=tmp_path, predict="+-+ ... .+. ... -.."))
    answer = capsys.readouterr().out.splitlines()
    assert answer[1].split() == ["memory", "+-+", "+-+", "+++", "+++", "-++"]
    with pytest.raises(SystemExit, match="expected words of 3 letters"):
        flip_flop.main(flip_flop.Command(out=tmp_path, predict="+- ..."))


def test_the_memory_is_the_last_pulse():
    pulses, memory = flip_flop.draw_sequences(jax.random.key(0), 5, 40, 0.2)
    assert pulses.shape == memory.shape == (5, 40, 3)
    assert 0.1 < np.mean(np.asarray(pulses[:, 1:]) != 0) < 0.3
    want = np.zeros((5, 3))
    for t in range(40):
        want = np.where(pulses[:, t] != 0, pulses[:, t], want)
        np.testing.assert_array_equal(memory[:, t], want)
    assert set(np.unique(memory)) == {-1.0, 1.0}


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
    row = flip_flop.describe("name", flip_flop.Result(0.5, 1, found, np.zeros((3, 2, 2))))
    assert row == ["name", "50.00%", "1", "1", "1 + 1 + 0", "0", "1", "3.0e-07"]


def test_predict_without_a_model_names_the_command(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "experiments.flip_flop", "--out", str(tmp_path), "--predict=+++"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 1
    assert "Train it first: python -m experiments.flip_flop" in result.stderr
    assert "Traceback" not in result.stderr
