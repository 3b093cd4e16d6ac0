"""A disk that fails in the middle of a sweep costs neither the result nor what is saved."""

import errno
import warnings

import pytest

from grujax.sweep import local
from grujax.sweep.populations import search
from grujax.sweep.storage import files
from tests.fixtures import populations
from tests.fixtures.sweep_trainings import assert_same, run


@pytest.fixture
def full_disk(monkeypatch):
    """Refuses some of the files that are written from now on, by their numbers."""

    def fill(*refused):
        numbers = iter(range(10**6))

        def fsync(descriptor):
            if next(numbers) in refused:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", fsync)
        monkeypatch.setattr(files, "_sync_folder", lambda path: None)

    return fill


CHUNKS = [f"chunk-{number:06d}.npz" for number in (0, 2, 4, 6)]


def written(directory, kind="chunk"):
    assert not list(directory.glob(".*"))  # no half file takes space
    return sorted(path.name for path in directory.glob(f"{kind}-*.npz"))


def test_chunks_wait_until_the_disk_takes_them(tmp_path, full_disk, chunks_run):
    whole = run(chunk=2)
    chunks_run.clear()
    full_disk(3, 4)  # after sweep.json, trials.npz and the first chunk
    with pytest.warns(UserWarning, match="No space left on device") as caught:
        result = run(directory=tmp_path, chunk=2)
    assert [str(one.message) for one in caught] == [
        f"{tmp_path / CHUNKS[1]} cannot be written: No space left on device. The sweep goes on, "
        "and tries to save it again."
    ]
    assert_same(result, whole)
    assert written(tmp_path) == CHUNKS
    assert len(chunks_run) == 4


def test_what_is_not_saved_at_the_end_is_named(tmp_path, full_disk):
    full_disk(*range(3, 100))
    with pytest.warns(UserWarning, match="No space left on device") as caught:
        result = run(directory=tmp_path, chunk=2)
    message = str(caught[-1].message)
    assert message.startswith(f"5 of 7 trials are not saved in {tmp_path}: ")
    assert message.endswith("No space left on device. This call returns the only copy.")
    assert caught[-1].filename.endswith("sweep_trainings.py")  # who called grujax
    assert_same(result, run(chunk=2))
    assert written(tmp_path) == CHUNKS[:1]
    full_disk()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(run(directory=tmp_path, chunk=2), result)


def test_a_disk_that_is_full_at_the_start_stops_the_sweep(tmp_path, full_disk, chunks_run):
    for number, name in enumerate(("sweep.json", "trials.npz")):
        full_disk(number)
        with pytest.raises(ValueError, match=rf"{name} cannot be written: .*No space left"):
            run(directory=tmp_path / name)
    assert not chunks_run


def test_after_ctrl_c_the_message_counts_what_is_saved(tmp_path, full_disk, monkeypatch, capsys):
    def stop_in_fourth(program, key, values, indices, original=local.run_chunk):
        if indices[0] == 6:
            raise KeyboardInterrupt
        return original(program, key, values, indices)

    monkeypatch.setattr(local, "run_chunk", stop_in_fourth)
    full_disk(*range(3, 100))
    with pytest.warns(UserWarning, match="No space"), pytest.raises(KeyboardInterrupt):
        run(directory=tmp_path, chunk=2)
    message = f"Sweep stopped with 6 of 7 trials done, 2 of them saved in {tmp_path}; the same call"
    assert message in capsys.readouterr().err


def test_a_population_outlives_a_full_disk(tmp_path, full_disk, monkeypatch):
    tried = []

    def write(directory, population, original=search.write_population):
        tried.append(population.rounds)
        original(directory, population)

    monkeypatch.setattr(search, "SAVE_SECONDS", 0)
    monkeypatch.setattr(search, "write_population", write)
    whole = populations.run(**populations.WALK, rounds=4)
    full_disk(2)  # after sweep.json and the first round
    with pytest.warns(UserWarning, match=r"round-000002.npz cannot be written: No space"):
        found = populations.run(**populations.WALK, rounds=4, directory=tmp_path / "a")
    populations.assert_same(found, whole)
    assert tried == [1, 2, 3, 4]  # an outdated population does not wait
    assert written(tmp_path / "a", "round") == ["round-000003.npz", "round-000004.npz"]
    full_disk(*range(3, 100))
    with pytest.warns(UserWarning, match="No space left") as caught:
        found = populations.run(**populations.WALK, rounds=4, directory=tmp_path / "b")
    assert str(caught[-1].message).startswith(f"{tmp_path / 'b'} has 2 of 4 rounds: ")
    populations.assert_same(found, whole)
    assert written(tmp_path / "b", "round") == ["round-000001.npz", "round-000002.npz"]
