"""The comparison of Optuna with random search, end to end on tiny settings."""

import pytest

from experiments.sweep_adding import search
from tests.helpers import read_results

pytest.importorskip("optuna")


@pytest.mark.slow
def test_both_methods_and_all_ways_are_compared(tmp_path, capsys, monkeypatch):
    tiny = {"trials": 4, "batch": 2, "seeds": 2, "steps": 4, "updates": 20, "hidden_size": 3}
    settings = search.Comparison(**tiny, rounds=1)
    search.main(settings, tmp_path)
    printed = capsys.readouterr().out
    assert "Least error of 4 trainings, by seed" in printed
    assert "of 2 seeds; its error is" in printed
    results = read_results(tmp_path / "results.json")
    assert [len(rows) for rows in results["errors"].values()] == [2, 2]
    assert all(row["trials per minute"] > 0 for row in results["speed"])
    assert len(results["speed"]) == 4
    chunks = sorted(tmp_path.rglob("chunk-*.npz"))
    times = [path.stat().st_mtime_ns for path in chunks]
    monkeypatch.setattr(search, "compare_speed", lambda *_: results["speed"])
    search.main(settings, tmp_path)  # all trainings are saved already
    assert [path.stat().st_mtime_ns for path in chunks] == times
    assert read_results(tmp_path / "results.json") == results
