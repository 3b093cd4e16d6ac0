"""Real processes on loopback: they train as one, share a sweep, and survive that one is killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.processes import Processes, ScaleError
from grujax import sweep
from tests.fixtures import tiny_experiment
from tests.fixtures.sweep_trainings import KEY, TRIALS, descend
from tests.helpers import ROOT

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A function: starts two processes of a module of the tests."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    started = []

    def start(module: str, *arguments: object) -> list[subprocess.Popen]:
        with socket.socket() as found:
            found.bind(("localhost", 0))
            port = found.getsockname()[1]
        command = [sys.executable, "-m", module, *map(str, arguments), "--distributed"]
        command += ["--coordinator", f"localhost:{port}", "--processes", "2", "--process"]
        pair = [
            subprocess.Popen(
                [*command, str(i)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(2)
        ]
        started.extend(pair)
        return pair

    yield start
    for process in started:
        process.kill()
        process.wait()


def finish(pair) -> list[tuple[str, str]]:
    """Waits for both. Returns: what each printed, and its errors."""
    texts = [process.communicate(timeout=200) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], texts
    return texts


def kill_after_two_epochs(pair, victim: int, metrics: Path) -> str:
    """Kills one. Returns: the errors of the other, which has ended by itself."""
    deadline = time.monotonic() + 200
    while len(read_records(metrics)) < 2:
        assert all(process.poll() is None for process in pair), pair[0].communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pair[victim].send_signal(signal.SIGKILL)
    _, errors = pair[1 - victim].communicate(timeout=60)
    assert pair[1 - victim].returncode not in (0, -signal.SIGKILL)
    return errors


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> list[dict[str, float]]:
    """The metrics of one process on one device."""
    return train_alone(tmp_path_factory.mktemp("alone"))


def train_alone(out: Path) -> list[dict[str, float]]:
    tiny_experiment.main(tiny_experiment.Command(epochs=EPOCHS, out=out))
    return read_records(out / "run" / loop.METRICS)


EPOCHS = 5


def assert_same(got, want) -> None:
    assert len(got) == len(want) == EPOCHS
    for one, other in zip(got, want, strict=True):
        assert one == pytest.approx(other, rel=TOLERANCE)


@pytest.mark.slow
def test_two_processes_train_as_one_and_go_on_after_one_is_killed(start, alone, tmp_path):
    flags = ("--epochs", EPOCHS, "--out", tmp_path)
    metrics = tmp_path / "run" / loop.METRICS
    pair = start("tests.fixtures.tiny_experiment", *flags, "--pause", 1.5)
    errors = kill_after_two_epochs(pair, victim=1, metrics=metrics)
    assert "error: another process has ended or cannot be reached" in errors
    assert "Traceback" not in errors
    saved = sorted(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())

    (printed, errors), (nothing, no_bar) = finish(start("tests.fixtures.tiny_experiment", *flags))
    assert f"tiny: resuming after epoch {saved[-1]} in" in errors
    assert "damaged" not in errors
    assert printed.splitlines()[-1] == "done"
    assert "done" not in nothing
    assert "tiny" not in no_bar
    assert_same(read_records(metrics), alone)
    assert (tmp_path / "run" / "best.npz").exists()


@pytest.mark.slow
def test_the_writer_is_killed_and_one_process_goes_on(start, alone, tmp_path, capsys):
    metrics = tmp_path / "run" / loop.METRICS
    flags = ("--epochs", EPOCHS, "--out", tmp_path, "--pause", 1.5)
    errors = kill_after_two_epochs(
        start("tests.fixtures.tiny_experiment", *flags), victim=0, metrics=metrics
    )
    assert re.search("another (process has ended|task died)", errors)
    assert_same(train_alone(tmp_path), alone)
    assert "resuming after epoch" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_share_a_sweep(start, tmp_path):
    texts = finish(start("tests.fixtures.tiny_sweep", "--out", tmp_path))
    assert ["done" in printed for printed, _ in texts] == [True, False]
    result = sweep.SweepResult.load(tmp_path / "chunks")
    whole = sweep.run(descend, TRIALS, key=KEY, progress=False)
    for name, values in whole.metrics.items():
        np.testing.assert_allclose(result.metrics[name], values, rtol=TOLERANCE)
    np.testing.assert_array_equal(result.trials["learning_rate"], TRIALS["learning_rate"])
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + len(whole.diverged)


@pytest.mark.slow
def test_slurm_says_which_process_this_is_and_differences_are_told(tmp_path):
    """Started as `srun` does it, each finds the other, and that their settings differ."""
    program = (
        "from experiments.common.training.processes import *\n"
        "Processes(distributed=True).join()\n"
        "try:\n"
        "    check_same_everywhere('settings', {'size': jax.process_index()})\n"
        "except ScaleError as error:\n"
        "    print(jax.process_count(), error)\n"
    )
    about = {"JOB_ID": os.getpid(), "STEP_NODELIST": "localhost", "NTASKS": 2, "STEP_NUM_NODES": 1}
    pair = []
    for i in range(2):
        told = {
            f"SLURM_{name}": str(x) for name, x in (about | {"PROCID": i, "LOCALID": i}).items()
        }
        pair.append(
            subprocess.Popen(
                [sys.executable, "-c", program],
                env=os.environ | {"PYTHONPATH": str(ROOT)} | told,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    texts = finish(pair)
    assert all("2 The processes differ in their settings: start all" in out for out, _ in texts)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"process": 1}, "require --distributed: add it"),
        ({"distributed": True, "process": 1}, "belong together"),
        (
            {"distributed": True, "coordinator": "a:1", "processes": 2, "process": 2},
            "--process must be 0 to 1 with --processes 2, got 2",
        ),
        (
            {"distributed": True, "coordinator": "a", "processes": 2, "process": 0},
            "--coordinator must be HOST:PORT, got 'a'",
        ),
    ],
)
def test_flags_that_say_too_little_or_too_much(flags, message):
    with pytest.raises(ScaleError, match=message):
        Processes(**flags).join()


def test_the_environment_does_not_number_the_processes():
    code = "from experiments.common.training.processes import *; Processes(distributed=True).join()"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert "The environment does not say which process this is" in result.stderr
