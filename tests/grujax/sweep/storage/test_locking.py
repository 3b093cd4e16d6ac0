"""One process works in a directory, or one for each share of a sweep."""

import errno
import importlib.util
import subprocess
import sys
import warnings

import pytest

from grujax import sweep
from grujax.sweep.storage import locked, locking
from tests.fixtures import populations
from tests.fixtures.sweep_trainings import assert_same, run

HOLD = """
import sys, time
from pathlib import Path
from grujax.sweep.storage import locked
with locked(Path(sys.argv[1]), *map(int, sys.argv[2:])):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_refused_until_the_first_one_is_killed(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "locked\n"
        message = rf"`directory` .* is in use by process {process.pid} on \S+: wait until"
        with pytest.raises(ValueError, match=message):
            run(directory=tmp_path)
        with pytest.raises(ValueError, match=message):
            populations.run(directory=tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["sweep.lock"]
    finally:
        process.kill()
        process.wait()
    run(directory=tmp_path)


@pytest.mark.parametrize(
    ("held", "wanted", "free"),
    [
        ((0, 2), (1, 2), True),
        ((0, 2), (0, 2), False),
        ((0, 2), (0, 1), False),
        ((0, 1), (1, 2), False),
        ((0, 1), (0, 1), False),
    ],
)
def test_who_may_work_beside_whom(tmp_path, held, wanted, free):
    with locked(tmp_path, *held):
        if free:
            with locked(tmp_path, *wanted):
                pass
        else:
            with pytest.raises(ValueError, match="is in use"), locked(tmp_path, *wanted):
                pass
    with locked(tmp_path, *wanted):
        pass


def test_two_shares_run_at_the_same_time(tmp_path):
    with locked(tmp_path, 0, 2):
        run(directory=tmp_path, process=1, processes=2)
    run(directory=tmp_path, process=0, processes=2)
    assert_same(sweep.SweepResult.load(tmp_path), run())


@pytest.mark.parametrize("reason", ["no locks available", "no fcntl"])
def test_where_nothing_can_be_locked_a_warning_says_so(tmp_path, monkeypatch, reason):
    def flock(*arguments):
        raise OSError(errno.ENOLCK, reason)

    if reason == "no fcntl":
        monkeypatch.setattr(locking, "fcntl", None)
    else:
        monkeypatch.setattr(locking.fcntl, "flock", flock)
    with pytest.warns(UserWarning, match=r"cannot be locked \(.*\): make sure that no other"):
        assert_same(run(directory=tmp_path), run())


def test_locking_is_importable_without_fcntl(monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    spec = importlib.util.spec_from_file_location("locking_of_windows", locking.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.fcntl is None


@pytest.fixture
def read_only(monkeypatch):
    """Makes the file system of the tests read-only when it is called."""

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    def open_to_read(path, mode="r", *arguments, original=locking.Path.open, **options):
        return original(path, mode, *arguments, **options) if mode in ("r", "rb") else refuse()

    def make():
        monkeypatch.setattr(locking.Path, "open", open_to_read)
        for name in ("rename", "replace", "unlink"):
            monkeypatch.setattr(locking.Path, name, refuse)

    return make


def test_a_finished_sweep_is_read_in_a_read_only_folder(tmp_path, read_only):
    walk = populations.WALK | {"directory": tmp_path / "b", "rounds": 1}
    whole, found = run(directory=tmp_path / "a"), populations.run(**walk)
    (tmp_path / "a" / ".chunk-000000.npz.1.new").touch()
    read_only()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(run(directory=tmp_path / "a"), whole)
        populations.assert_same(populations.run(**walk), found)


def test_missing_trials_in_a_read_only_folder_are_an_error_before_they_run(
    tmp_path, read_only, chunks_run
):
    run(directory=tmp_path / "a", chunk=2)
    (tmp_path / "a" / "chunk-000004.npz").unlink()
    walk = populations.WALK | {"directory": tmp_path / "b"}
    populations.run(**walk, rounds=1)
    chunks_run.clear()
    read_only()
    with pytest.raises(ValueError, match="lacks 2 of 7 trials, and cannot be written: Read-only"):
        run(directory=tmp_path / "a")
    with pytest.raises(ValueError, match="lacks 5 of 6 rounds, and cannot be written: Read-only"):
        populations.run(**walk)
    with pytest.raises(ValueError, match="written: Read-only"):
        run(directory=tmp_path)
    assert not chunks_run
