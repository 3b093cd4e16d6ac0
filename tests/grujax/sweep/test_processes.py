"""A sweep shared by processes: each runs its share, and the directory holds all of them."""

from functools import partial

import pytest

from grujax import sweep
from tests.fixtures.sweep_trainings import assert_same
from tests.fixtures.sweep_trainings import run as run_sweep

run = partial(run_sweep, chunk=2)


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_the_shares_of_all_processes_are_the_whole_sweep(tmp_path, processes):
    alone = run()
    for process in reversed(range(processes)):
        share = run(directory=tmp_path, processes=processes, process=process)
        assert_same(share, alone, slice(process, None, processes))
    assert_same(sweep.SweepResult.load(tmp_path), alone)
    assert_same(run(directory=tmp_path), alone)


def test_groups_are_shared_evenly(tmp_path, chunks_run):
    trials = sweep.grid(learning_rate=[0.1, 0.2, 0.3], steps=[2, 3, 4, 5])
    options = {"trials": trials, "static": ("steps",)}
    counts = []
    for process in range(4):
        run(**options, directory=tmp_path, processes=4, process=process)
        counts.append(sum(map(len, chunks_run)))
    assert counts == [3, 6, 9, 12]
    assert sorted(index for chunk in chunks_run for index in chunk) == list(range(12))
    assert_same(sweep.SweepResult.load(tmp_path), run(**options))


def test_missing_shares_are_named(tmp_path):
    run(directory=tmp_path, processes=2, process=0)
    with pytest.raises(ValueError, match=r"lacks 3 of 7 trials \(1, 3, 5\): run the processes"):
        sweep.SweepResult.load(tmp_path)
    (tmp_path / "chunk-000004.npz").unlink()
    with pytest.raises(ValueError, match=r"lacks 5 of 7 trials \(1, 3, 4, 5, 6\): run"):
        sweep.SweepResult.load(tmp_path)
    with pytest.raises(ValueError, match=r"holds no sweep: there is no trials.npz in it"):
        sweep.SweepResult.load(tmp_path.parent)


def test_files_that_other_processes_are_writing_stay(tmp_path):
    run(directory=tmp_path, processes=2, process=0)
    half = tmp_path / ".chunk-000001.npz.0.new"
    half.write_bytes(b"half")
    run(directory=tmp_path, processes=2, process=1)
    assert half.exists()
    run(directory=tmp_path)
    assert not half.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"process": 1}, "`process` and `processes` belong together, got 1 and None"),
        ({"process": 2, "processes": 2}, "`process` must be an integer from 0 to 1, got 2"),
        ({"process": True, "processes": 2}, "`process` must be an integer from 0 to 1, got True"),
        ({"process": 0, "processes": 1.5}, "`processes` must be a positive integer, got 1.5"),
        ({"process": 0, "processes": 2, "directory": None}, "2 processes need a `directory`"),
        ({"process": 0, "processes": 8}, "8 processes cannot share 7 trials: start fewer"),
    ],
)
def test_bad_numbers_of_processes_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(**{"directory": tmp_path} | options)
