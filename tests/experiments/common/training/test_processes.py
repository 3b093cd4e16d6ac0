"""Real processes on loopback: they train as one, share a sweep, and survive that one is killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from experiments.common.training import loop, processes
from experiments.common.training.metrics import read_records
from experiments.common.training.processes import Processes, ScaleError
from experiments.common.training.rendezvous import Address
from grujax import sweep
from tests.fixtures import tiny_experiment
from tests.fixtures.sweep_trainings import KEY, TRIALS, descend
from tests.helpers import ROOT

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A function: starts processes of a module of the tests, two by default."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    started = []

    def start(
        module: str, *arguments: object, numbers: Sequence[str] = ("0 of 2", "1 of 2")
    ) -> list[subprocess.Popen]:
        command = [sys.executable, "-m", module, *map(str, arguments), "--distributed"]
        command += ["--coordinator", f"localhost:{free_port()}", "--process"]
        pair = [
            subprocess.Popen(
                [*command, *number.replace("of", "--processes").split()],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in numbers
        ]
        started.extend(pair)
        return pair

    yield start
    for process in started:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of the loopback interface."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def finish(pair) -> list[tuple[str, str]]:
    """Waits for both. Returns: what each printed, and its errors."""
    texts = [process.communicate(timeout=200) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], texts
    return texts


def fail(*started, statuses: set[int]) -> list[str]:
    """Waits until all have ended, with these statuses. Returns: their errors, one line each."""
    errors = [process.communicate(timeout=200)[1].strip() for process in started]
    assert {process.returncode for process in started} == statuses, errors
    for text in errors:
        assert text.startswith("error: ")
        assert "\n" not in text
    return errors


def end_after_two_epochs(pair, victim: int, metrics: Path, number: int = signal.SIGKILL) -> str:
    """Sends one a signal. Returns: the errors of the other, which has ended by itself."""
    deadline = time.monotonic() + 200
    while len(read_records(metrics)) < 2:
        assert all(process.poll() is None for process in pair), pair[0].communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pair[victim].send_signal(number)
    _, errors = pair[1 - victim].communicate(timeout=60)
    assert pair[1 - victim].returncode == 1, errors
    assert "Traceback" not in errors
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
    errors = end_after_two_epochs(pair, victim=1, metrics=metrics)
    assert "error: Process 1 has ended or cannot be reached; its output says why." in errors
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
    errors = end_after_two_epochs(
        start("tests.fixtures.tiny_experiment", *flags), victim=0, metrics=metrics
    )
    # JAX's own message, in C++, may come first.
    assert re.search("error: Process 0 has ended|another task died", errors)
    assert_same(train_alone(tmp_path), alone)
    assert "resuming after epoch" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_ctrl_c_ends_one_quietly_and_the_other_with_a_sentence(start, tmp_path, victim):
    flags = ("--epochs", EPOCHS, "--out", tmp_path, "--pause", 1.5)
    pair = start("tests.fixtures.tiny_experiment", *flags)
    metrics = tmp_path / "run" / loop.METRICS
    errors = end_after_two_epochs(pair, victim, metrics, signal.SIGINT)
    assert f"error: Process {victim} was interrupted" in errors
    _, own = pair[victim].communicate(timeout=60)
    assert pair[victim].returncode == 130
    assert "Traceback" not in own
    assert "error" not in own


@pytest.mark.slow
def test_a_missing_process_ends_the_others_with_a_sentence(start):
    module, brief = "tests.fixtures.tiny_sweep", ("--timeout", "2")
    (zero,) = fail(*start(module, *brief, numbers=["0 of 2"]), statuses={1})
    (one,) = fail(*start(module, *brief, numbers=["1 of 2"]), statuses={1})
    assert "Process 1 of 2 did not reach localhost" in zero
    assert "Process 0 did not answer at localhost" in one


@pytest.mark.slow
def test_a_second_process_of_one_number_is_refused(start):
    numbers = ["0 of 3", "1 of 3", "1 of 3"]
    started = start("tests.fixtures.tiny_sweep", "--timeout", 15, numbers=numbers)
    warning, zero = started[0].communicate(timeout=200)[1].strip().splitlines()
    assert "There are two processes with --process 1" in warning
    assert "Process 2 of 3 did not reach localhost" in zero
    errors = fail(*started[1:], statuses={1, 2})  # one lost the others, one has a wrong number
    assert any("There are two processes" in text for text in errors)


@pytest.mark.slow
def test_processes_with_different_counts_say_so(start):
    started = start("tests.fixtures.tiny_sweep", "--timeout", 60, numbers=["0 of 2", "1 of 3"])
    for text in fail(*started, statuses={2}):
        assert "process 0 has --processes 2, process 1 has --processes 3" in text


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


def slurm(process: int, number: int, nodes: str, job: int = 77) -> dict[str, str]:
    """The variables that `srun` sets."""
    told = {
        "JOB_ID": job, "STEP_NODELIST": nodes, "NTASKS": number, "STEP_NUM_NODES": 1,
        "PROCID": process, "LOCALID": process,
    }  # fmt: skip
    return {f"SLURM_{name}": str(value) for name, value in told.items()}


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
    pair = []
    for i in range(2):
        told = slurm(process=i, number=2, nodes="localhost", job=os.getpid())
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


def flags(**changes) -> Processes:
    """Those of one process of two, with changes."""
    right = {"distributed": True, "coordinator": "a:1", "processes": 2, "process": 1}
    return Processes(**right | changes)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Processes(process=1), "require --distributed: add it"),
        (Processes(distributed=True, process=1), "belong together"),
        (flags(process=2), "--process must be 0 to 1 with --processes 2, got 2"),
        (flags(process=-1), "--process must be 0 to 1 with --processes 2, got -1"),
        (flags(processes=0), "--processes must be at least 1, got 0"),
        (flags(processes=-1), "--processes must be at least 1, got -1"),
        (flags(coordinator="a"), "--coordinator must be HOST:PORT .* got 'a'"),
        (flags(coordinator="a:0"), "with a port of 1 to 65535, got 'a:0'"),
        (flags(coordinator="a:70000"), "with a port of 1 to 65535, got 'a:70000'"),
        (flags(coordinator="a:abc"), "with a port of 1 to 65535, got 'a:abc'"),
        (flags(timeout=0), "--timeout must be at least 1"),
    ],
)
def test_wrong_flags_are_refused_before_anything_starts(wrong, message, monkeypatch):
    monkeypatch.setattr(processes, "meet", None)
    with pytest.raises(ScaleError, match=message):
        wrong.join()


@pytest.fixture
def meeting_of(monkeypatch):
    """A function: the meeting that `Processes` wants to join."""

    class Met(Exception):  # noqa: N818
        """Instead of a meeting."""

    def meet(meeting):
        raise Met(meeting)

    def meeting_of(which: Processes):
        with pytest.raises(Met) as met:
            which.join()
        return met.value.args[0]

    monkeypatch.setattr(processes, "meet", meet)
    return meeting_of


def test_a_cluster_numbers_the_processes(meeting_of, monkeypatch):
    for name, value in slurm(process=1, number=3, nodes="node[04-06]").items():
        monkeypatch.setenv(name, value)
    meeting = meeting_of(Processes(distributed=True, timeout=7))
    assert meeting.address == Address("node04", 65535 - 2**12 + 1 + 77)
    assert (meeting.processes, meeting.process, meeting.timeout) == (3, 1, 7)
    assert meeting_of(flags(process=0, processes=5)).processes == 5  # the flags come first


@pytest.mark.parametrize(
    ("host", "numbers", "bind"),
    [
        ("localhost", ["127.0.0.1"], None),
        ("node", ["10.0.0.7"], None),
        ("node", ["127.0.1.1"], "::"),  # Debian's own name
        ("node", ["127.0.1.1", "10.0.0.7"], None),
    ],
)
def test_where_process_0_of_a_cluster_listens(meeting_of, monkeypatch, host, numbers, bind):
    for name, value in slurm(process=0, number=2, nodes=host).items():
        monkeypatch.setenv(name, value)
    found = [(socket.AF_INET, 1, 6, "", (number, 0)) for number in numbers]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    meeting = meeting_of(Processes(distributed=True))
    assert meeting.bind == (bind and Address(bind, meeting.address.port))


def test_the_variable_of_jax_says_where_process_0_listens(meeting_of, monkeypatch):
    assert meeting_of(flags(process=0)).bind is None
    monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", "10.0.0.7:1")
    assert meeting_of(flags(process=0)).bind == Address("10.0.0.7", 1)


def test_the_environment_does_not_number_the_processes():
    with pytest.raises(ScaleError, match="The environment does not say which process this is"):
        Processes(distributed=True).join()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_service_of_jax_listens_at_the_coordinators_address_alone():
    port = free_port()
    program = (
        "from pathlib import Path\n"
        "from experiments.common.training.processes import Processes\n"
        f"Processes(True, 'localhost:{port}', 1, 0).join()\n"
        "for name in ('tcp', 'tcp6'):\n"
        "    print(Path('/proc/self/net', name).read_text())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    hosts = re.findall(rf"^\s*\d+: (\w+):{port:04X} \S+ 0A", result.stdout, re.MULTILINE)
    assert set(hosts) in ({"0100007F"}, {"0" * 16 + "FFFF0000" + "0100007F"})
