"""The sweep of the adding problem, end to end on tiny settings."""

import jax
import pytest

from experiments.sweep_adding import sweep as sweep_adding
from tests.helpers import chunk_times


@pytest.mark.slow
def test_experiment_runs_and_resumes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jax.config, "update", lambda *_: None)  # JAX has started already
    settings = sweep_adding.Settings(
        steps=(4,), learning_rates=(1e-2,), seeds=1, hidden_size=3, updates=20
    )
    command = sweep_adding.Command(settings, out=tmp_path)
    sweep_adding.main(command)
    printed = capsys.readouterr().out
    assert "6 trainings" in printed
    assert "GRU, long" in printed
    for name in ("success.png", "table.csv", "sweep.npz", "gru.png", "lstm.png", "rnn.png"):
        assert (tmp_path / name).stat().st_size > 0
    saved = chunk_times(tmp_path)
    assert saved
    sweep_adding.main(command)
    assert "GRU, long" in capsys.readouterr().out
    assert chunk_times(tmp_path) == saved  # no chunk ran again
