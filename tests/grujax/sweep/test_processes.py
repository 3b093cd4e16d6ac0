"""A sweep shared by processes: each runs its part, and the directory holds the whole."""

import numpy as np
import pytest

from grujax import sweep
from grujax.sweep import programs, running
from tests.fixtures.sweep_trainings import KEY, TRIALS, descend


def run(directory, trials=TRIALS, **options):
    options = {"key": KEY, "progress": False, "chunk": 2} | options
    return sweep.run(descend, trials, directory=directory, **options)


def assert_same(got: sweep.SweepResult, want: sweep.SweepResult, own=slice(None)) -> None:
    for kind in ("trials", "metrics"):
        for name, array in getattr(want, kind).items():
            np.testing.assert_array_equal(getattr(got, kind)[name], array[own])
    np.testing.assert_array_equal(got.diverged, want.diverged[own])


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_shares_make_up_the_whole(tmp_path, processes):
    alone = run(None)
    for process in reversed(range(processes)):
        share = run(tmp_path, processes=processes, process=process)
        assert_same(share, alone, slice(process, None, processes))
    assert_same(sweep.SweepResult.load(tmp_path), alone)
    assert_same(run(tmp_path), alone)


def test_groups_are_shared_evenly(tmp_path, monkeypatch):
    trials = sweep.grid(learning_rate=[0.1, 0.2, 0.3], steps=[2, 3, 4, 5])
    launched = []
    monkeypatch.setattr(
        running,
        "run_chunk",
        lambda *a: launched.extend(a[3].tolist()) or programs.run_chunk(*a),
    )
    counts = []
    for process in range(4):
        run(tmp_path, trials, static=("steps",), processes=4, process=process)
        counts.append(len(launched))
    assert counts == [3, 6, 9, 12]
    assert sorted(launched) == list(range(12))
    assert_same(sweep.SweepResult.load(tmp_path), run(None, trials, static=("steps",)))


def test_missing_shares_are_named(tmp_path):
    run(tmp_path, processes=2, process=0)
    with pytest.raises(ValueError, match=r"lacks 3 of 7 trials \(1, 3, 5\): run the processes"):
        sweep.SweepResult.load(tmp_path)
    (tmp_path / "chunk-000004.npz").unlink()
    with pytest.raises(ValueError, match=r"lacks 5 of 7 trials \(1, 3, 4, 5, 6\): run"):
        sweep.SweepResult.load(tmp_path)
    with pytest.raises(ValueError, match=r"holds no sweep: there is no trials.npz in it"):
        sweep.SweepResult.load(tmp_path.parent)


def test_another_process_is_in_the_middle_of_writing(tmp_path):
    run(tmp_path, processes=2, process=0)
    half = tmp_path / ".chunk-000001.npz.0.new"
    half.write_bytes(b"half")
    run(tmp_path, processes=2, process=1)
    assert half.exists()
    run(tmp_path)
    assert not half.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"process": 1}, "`process` and `processes` belong together, got 1 and None"),
        ({"process": 2, "processes": 2}, "`process` must be 0 to 1 with 2 processes, got 2"),
        ({"process": 0, "processes": 2, "directory": None}, "2 processes need a `directory`"),
        ({"process": 0, "processes": 8}, "8 processes cannot share 7 trials: start fewer"),
    ],
)
def test_what_processes_cannot_do(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(**{"directory": tmp_path} | options)
