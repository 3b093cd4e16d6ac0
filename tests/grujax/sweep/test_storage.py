"""A sweep on disk: killed at any moment it resumes, and no trial is lost or runs twice."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial

import jax
import numpy as np
import pytest

from grujax import sweep
from grujax.sweep import local, storage
from tests.fixtures.sweep_trainings import TRIALS, assert_same, descend
from tests.fixtures.sweep_trainings import run as run_sweep
from tests.helpers import ROOT

run = partial(run_sweep, chunk=2)


def test_a_finished_sweep_only_reads(tmp_path, monkeypatch):
    first = run(directory=tmp_path / "new" / "folder")
    monkeypatch.setattr(local, "program_for", None)
    assert_same(run(directory=tmp_path / "new" / "folder"), first)


def test_resuming_runs_the_missing_trials_in_chunks_of_any_size(tmp_path, chunks_run):
    whole = run(directory=tmp_path)
    assert chunks_run == [[0, 1], [2, 3], [4, 5], [6]]
    chunks_run.clear()
    (tmp_path / "chunk-000002.npz").unlink()
    assert_same(run(directory=tmp_path, chunk=1, strategy="map"), whole)
    assert chunks_run == [[2], [3]]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-9]])
def test_a_damaged_chunk_runs_again(tmp_path, chunks_run, damage):
    whole = run(directory=tmp_path)
    chunks_run.clear()
    path = tmp_path / "chunk-000004.npz"
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()
    with pytest.warns(UserWarning, match=r"chunk-000004.npz is damaged .*run again"):
        assert_same(run(directory=tmp_path), whole)
    assert chunks_run == [[4, 5]]
    assert (tmp_path / "chunk-000004.npz.damaged").read_bytes() == damaged


def test_the_remains_of_a_killed_write_are_removed(tmp_path):
    run(directory=tmp_path)
    (tmp_path / ".chunk-000000.npz.123.new").write_bytes(b"half")
    run(directory=tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".lock", ".npz"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": jax.random.key(4)}, "`key` is 'threefry2x32 \\[0, 3\\]' there and"),
        ({"trials": {"learning_rate": TRIALS["learning_rate"][:3]}}, "`number of trials` is 7"),
        ({"trials": {"learning_rate": 0.9 * TRIALS["learning_rate"]}}, "differ in `learning_rate`"),
        (
            {
                "train": lambda key, rate: descend(key, rate),
                "trials": {"rate": TRIALS["learning_rate"]},
            },
            "it has no hyperparameter `rate`; it has a",
        ),
        ({"static": ("learning_rate",)}, r"`static` is \[\] there and \['learning_rate'\] here"),
    ],
)
def test_a_directory_of_another_sweep_is_refused(tmp_path, changes, message):
    run(directory=tmp_path)
    with pytest.raises(ValueError, match=f"belongs to another sweep: .*{message}"):
        run(directory=tmp_path, **changes)


def test_trials_with_other_metrics_are_refused(tmp_path):
    def renamed(key, learning_rate):
        return {"error": descend(key, learning_rate)["loss"]}

    run(directory=tmp_path)
    (tmp_path / "chunk-000006.npz").unlink()
    message = r"the metrics \['loss', 'losses'\] in `directory` and \['error'\] now"
    with pytest.raises(ValueError, match=message):
        run(renamed, directory=tmp_path, resume="anyway")


def test_a_hyperparameter_can_be_named_file(tmp_path):
    def train(key, file):
        return descend(key, file)

    trials = {"file": TRIALS["learning_rate"]}
    result = run(train, trials, directory=tmp_path)
    assert_same(sweep.SweepResult.load(tmp_path), result)


RATES = [i / 400 for i in range(400)]

# Sweeps RATES in chunks of two, and prints when a chunk begins and when its file is written. A
# process that is to be killed stops before its ninth chunk, so that it never ends by itself.
PROGRAM = """
import signal, sys
from grujax import sweep
from grujax.sweep import local, running
from tests.fixtures.sweep_trainings import run

chunks_left = 8 if sys.argv[1:] == ["to be killed"] else 10**6

def run_chunk(program, key, values, indices, original=local.run_chunk):
    global chunks_left
    print("begin", *indices, flush=True)
    if not chunks_left:
        signal.pause()
    chunks_left -= 1
    return original(program, key, values, indices)

def write_chunk(directory, chunk, original=running.write_chunk):
    original(directory, chunk)
    print("done", *chunk.indices, flush=True)

local.run_chunk, running.write_chunk = run_chunk, write_chunk
run(trials=sweep.grid(learning_rate={rates!r}), chunk=2, directory={directory!r})
"""


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments_loses_nothing_and_repeats_nothing(tmp_path, kills):
    directory, log = tmp_path / "sweep", tmp_path / "log"
    count = 400 if kills > 2 else 40
    program = PROGRAM.format(directory=str(directory), rates=RATES[:count])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    moments = random.Random(0)

    def start(*arguments):
        with log.open("a") as file:
            return subprocess.Popen(
                [sys.executable, "-c", program, *arguments], env=environment, stdout=file
            )

    for _ in range(kills):
        begun = log.read_text().count("begin") if log.exists() else 0
        process = start("to be killed")
        while log.read_text().count("begin") == begun and process.poll() is None:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.03))
        assert process.poll() is None, "the sweep ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    if kills > 2:
        assert start().wait() == 0
    else:
        run(trials=sweep.grid(learning_rate=RATES[:count]), directory=directory)
    lines = log.read_text().splitlines()
    done = [index for line in lines if line[:4] == "done" for index in line[5:].split()]
    assert len(done) == len(set(done))  # no finished chunk ran again
    indices = np.concatenate([chunk.indices for chunk in storage.load_sweep(directory)[1]])
    assert sorted(indices) == list(range(count))
    begun = [line[6:] for line in lines if line[:5] == "begin"]
    assert len(begun) - len(set(begun)) <= kills  # at most the chunk that was killed
    trials = sweep.grid(learning_rate=RATES[:count])
    resumed, whole = run(trials=trials, directory=directory), run(trials=trials)
    assert_same(resumed, whole)
    assert resumed.table().equals(whole.table())
