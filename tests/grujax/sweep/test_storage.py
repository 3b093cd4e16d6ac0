"""A sweep on disk: killed at any moment it goes on, and no trial is lost or runs twice."""

import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from grujax import sweep
from grujax.sweep import programs, running, storage
from tests.fixtures.sweep_trainings import KEY, TRIALS, descend
from tests.helpers import ROOT

KILLS = 20


def run(directory, train=descend, trials=TRIALS, **options):
    return sweep.run(
        train, trials, **{"key": KEY, "progress": False, "chunk": 2} | options, directory=directory
    )


def assert_same(got: sweep.SweepResult, want: sweep.SweepResult) -> None:
    assert got.trials.keys() == want.trials.keys()
    assert got.metrics.keys() == want.metrics.keys()
    for name, array in want.metrics.items():
        np.testing.assert_array_equal(got.metrics[name], array)
    np.testing.assert_array_equal(got.diverged, want.diverged)


@pytest.fixture
def launched(monkeypatch):
    """The trials that are run, in order."""
    indices = []
    monkeypatch.setattr(
        running,
        "run_chunk",
        lambda *a: indices.extend(a[3].tolist()) or programs.run_chunk(*a),
    )
    return indices


def test_a_finished_sweep_only_reads(tmp_path, monkeypatch):
    first = run(tmp_path / "new" / "folder")
    monkeypatch.setattr(running, "program_for", None)
    assert_same(run(tmp_path / "new" / "folder"), first)


def test_going_on_runs_what_is_missing_in_any_chunks(tmp_path, launched):
    whole = run(tmp_path)
    assert launched == list(range(7))
    launched.clear()
    (tmp_path / "chunk-000002.npz").unlink()
    assert_same(run(tmp_path, chunk=1, strategy="map"), whole)
    assert launched == [2, 3]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-9]])
def test_a_damaged_chunk_runs_again(tmp_path, launched, damage):
    whole = run(tmp_path)
    launched.clear()
    path = tmp_path / "chunk-000004.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=r"chunk-000004.npz is damaged .*run again"):
        assert_same(run(tmp_path), whole)
    assert launched == [4, 5]


def test_what_a_killed_write_left_behind_is_removed(tmp_path):
    run(tmp_path)
    (tmp_path / ".chunk-000000.npz.123.new").write_bytes(b"half")
    run(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npz"}


def other(key, learning_rate):
    return descend(key, learning_rate)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": other}, "`train` is 'descend' there and 'other' here"),
        ({"key": jax.random.key(4)}, "`key` is 'threefry2x32 \\[0, 3\\]' there and"),
        ({"trials": {"learning_rate": TRIALS["learning_rate"][:3]}}, "`number of trials` is 7"),
        ({"trials": {"learning_rate": 0.9 * TRIALS["learning_rate"]}}, "differ in `learning_rate`"),
        (
            {"trials": {"rate": TRIALS["learning_rate"]}},
            "it has no hyperparameter `rate`; it has a",
        ),
        ({"static": ("learning_rate",)}, r"`static` is \[\] there and \['learning_rate'\] here"),
    ],
)
def test_a_directory_of_another_sweep_is_refused(tmp_path, changes, message):
    run(tmp_path)
    with pytest.raises(ValueError, match=f"belongs to another sweep: .*{message}"):
        run(tmp_path, **changes)


def test_trials_with_other_metrics_are_refused(tmp_path):
    def renamed(key, learning_rate):
        return {"error": descend(key, learning_rate)["loss"]}

    renamed.__qualname__ = "descend"
    run(tmp_path)
    (tmp_path / "chunk-000006.npz").unlink()
    with pytest.raises(
        ValueError, match=r"returned \['loss', 'losses'\] there, and returns \['err"
    ):
        run(tmp_path, train=renamed)


def test_a_chunk_reads_back(tmp_path):
    chunk = storage.Chunk(np.array([3, 5]), {"a": np.ones(2), "b/c": np.arange(6).reshape(2, 3)})
    storage.write_chunk(tmp_path, chunk)
    (back,) = storage.read_chunks(tmp_path)
    assert back.indices.tolist() == [3, 5]
    assert back.metrics["b/c"].tolist() == [[0, 1, 2], [3, 4, 5]]


# One process sweeps; each trial it finished is a line in `log`, written after the chunk's file.
# A process that is to be killed stops before its ninth chunk, so that it never ends by itself.
PROGRAM = """
import signal, sys, jax
from tests.fixtures.sweep_trainings import KEY, descend
from grujax import sweep
from grujax.sweep import running

chunks_left = 8 if sys.argv[1:] == ["to be killed"] else 10**6

def run_chunk(program, key, trials, indices, original=running.run_chunk):
    global chunks_left
    print("begin", *indices, flush=True)
    if not chunks_left:
        signal.pause()
    chunks_left -= 1
    return original(program, key, trials, indices)

def write_chunk(directory, chunk, original=running.write_chunk):
    original(directory, chunk)
    print("done", *chunk.indices, flush=True)

running.run_chunk, running.write_chunk = run_chunk, write_chunk
trials = sweep.grid(learning_rate=[i / 400 for i in range(400)])
sweep.run(descend, trials, key=KEY, chunk=2, directory={directory!r}, progress=False)
"""


@pytest.mark.slow
def test_kill_9_at_twenty_moments_loses_nothing_and_repeats_nothing(tmp_path):
    directory, log = tmp_path / "sweep", tmp_path / "log"
    program = PROGRAM.format(directory=str(directory))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    moments = random.Random(0)
    kills = 0
    while True:
        begun = log.read_text().count("begin") if log.exists() else 0
        command = [sys.executable, "-c", program] + ["to be killed"] * (kills < KILLS)
        with log.open("a") as file:
            process = subprocess.Popen(command, env=environment, stdout=file)
        if kills < KILLS:
            while log.read_text().count("begin") == begun and process.poll() is None:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.03))
            assert process.poll() is None, "the sweep ended before it could be killed"
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            assert process.wait() == 0
            break
    done = [
        i for line in log.read_text().splitlines() if line[:4] == "done" for i in line[5:].split()
    ]
    assert len(done) == len(set(done))  # nothing that was finished ran again
    chunks = storage.read_chunks(directory)
    indices = np.concatenate([chunk.indices for chunk in chunks])
    assert sorted(indices) == list(range(400))
    begun = [line[6:] for line in log.read_text().splitlines() if line[:5] == "begin"]
    assert len(begun) - len(set(begun)) <= KILLS  # at most the chunk that was killed
    trials = sweep.grid(learning_rate=[i / 400 for i in range(400)])
    resumed = sweep.run(descend, trials, key=KEY, chunk=2, directory=directory, progress=False)
    assert_same(resumed, sweep.run(descend, trials, key=KEY, chunk=2, progress=False))
    assert resumed.table().equals(
        sweep.run(descend, trials, key=KEY, chunk=2, progress=False).table()
    )
