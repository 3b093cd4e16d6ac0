"""The experiment, end to end on tiny settings: the report, and what is left after a kill."""

import json

import pytest

from experiments.online_learning import compare, records
from experiments.online_learning.settings import Command, Settings

TINY = Settings(
    tasks=("recall",),
    methods=("bptt", "rtrl", "tbptt-1", "uoro"),
    hidden_size=3,
    batch_size=2,
    updates=4,
    every=2,
    block=2,
    seeds=2,
    rates=(1e-2, 1e-1),
    window=3,
    recall_lag=4,
    lengths=(3, 6),
    timing_seconds=0.1,
    online_windows=4,
    online_rates=(1e-2, 1e-1),
)
FIGURES = ("curves.png", "cosine.png", "costs.png", "every_step.png")


def read_results(out) -> dict:
    """The results that do not depend on the machine."""
    results = json.loads((out / "results.json").read_text())["results"]
    del results["milliseconds"], results["processor seconds of the trainings"]
    return results


@pytest.mark.slow
def test_the_experiment_reports_and_resumes_after_a_kill(tmp_path, capsys, monkeypatch):
    command = Command(TINY, out=tmp_path)
    write, written = records.write_json, []

    def write_or_die(path, value):
        if len(written) == 6:
            raise KeyboardInterrupt
        written.append(path)
        write(path, value)

    monkeypatch.setattr(records, "write_json", write_or_die)
    with pytest.raises(KeyboardInterrupt):
        compare.main(command)
    assert len(list(tmp_path.rglob(records.RECORD))) == 6
    times = {path: path.stat().st_mtime_ns for path in written}

    monkeypatch.setattr(records, "write_json", write)
    compare.main(command)
    assert {path: path.stat().st_mtime_ns for path in written} == times  # none ran again
    assert len(list(tmp_path.rglob(records.RECORD))) == 4 * (2 + 2) + 2 * 2 * 2
    printed = capsys.readouterr().out
    for part in ("\nrtrl ", "\nguessing ", "every step, error", "T = 6", "a bit 3 steps later"):
        assert part in printed
    for name in (*FIGURES, "report.txt"):
        assert (tmp_path / name).stat().st_size > 0

    whole = read_results(tmp_path)
    for path in written[3:5]:
        path.unlink()
    compare.main(command)
    assert read_results(tmp_path) == whole
