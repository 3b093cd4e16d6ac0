"""The comparison of tricks, end to end on tiny settings."""

import jax
import numpy as np
import pytest

from experiments.memory.tricks import TRICKS
from experiments.training_difficulty import compare
from grujax import sweep
from tests.helpers import chunk_times


@pytest.mark.slow
def test_experiment_runs_and_resumes(tmp_path, capsys, monkeypatch, few_digits):
    monkeypatch.setattr(jax.config, "update", lambda *_: None)  # JAX has started already
    monkeypatch.setattr(compare, "CELL_NAMES", ("rnn", "gru"))
    names = ("plain", "chrono", "clipping")  # one program per cell and task
    monkeypatch.setattr(compare, "TRICKS", {name: TRICKS[name] for name in names})
    settings = compare.Settings(
        (4,), (), (784,), 4, 4, 2, every=2, seeds=2, parameters=40, batch_size=2
    )
    command = compare.Command(settings, out=tmp_path)
    compare.main(command)
    printed = capsys.readouterr().out
    assert "20 trainings" in printed
    for title in ("adding, T = 4:", "pixels, T = 784:", "All tasks:"):
        assert title in printed
    assert "\nchrono" in printed
    figures = ("success", "tricks", "gradient_flow_adding", "gradient_flow_pixels")
    for name in (*(f"{figure}.png" for figure in figures), "table.csv", "sweep.npz"):
        assert (tmp_path / name).stat().st_size > 0

    before = sweep.SweepResult.load(tmp_path / "sweep.npz")
    sorted((tmp_path / "chunks").glob("chunk-*.npz"))[-1].unlink()
    compare.main(command)  # the missing trials run again, with the same results
    assert capsys.readouterr().out == printed
    after = sweep.SweepResult.load(tmp_path / "sweep.npz")
    jax.tree.map(np.testing.assert_array_equal, after.metrics, before.metrics)
    saved = chunk_times(tmp_path)
    assert saved
    compare.main(command)
    assert capsys.readouterr().out == printed
    assert chunk_times(tmp_path) == saved  # no chunk ran again
