"""Several processes that run as one program on JAX's distributed runtime.

Every process runs the same script on the same data. Process 0 is the writer: only it prints, and
only it reads and writes files. It broadcasts what it reads, a checkpoint for example, to the
others. `rendezvous` says how they find each other, and what happens when one ends.
"""

import atexit
import hashlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.common.durable import first_line
from experiments.common.flags import ProcessFlags
from experiments.common.training.devices import use_a_device_per_core
from experiments.common.training.rendezvous import (
    GRACE_SECONDS,
    Address,
    LostProcessError,
    Meeting,
    ScaleError,
    Watch,
    end_with,
    meet,
    resolve,
)

PyTree = Any

HEARTBEAT_SECONDS = 30  # a process that is silent for longer counts as dead
REPORT_SECONDS = 4 * 3600  # how much later than the others the writer may end: it writes reports
CONNECT_SECONDS = 10  # the least time for JAX to connect processes that have met
BIND_ADDRESS = "JAX_COORDINATOR_BIND_ADDRESS"  # JAX's variable: where process 0 listens

# How JAX's collectives report that another process has died.
_LOST = re.compile(r"gloo|nccl|UNAVAILABLE|DEADLINE_EXCEEDED|connection|socket|barrier", re.I)

_watch: Watch | None = None  # of the other processes


@dataclass(frozen=True)
class Processes(ProcessFlags):
    """Which of several processes this one is."""

    def prepare(self) -> None:
        """Sets up JAX for a sweep: one device per core. Call it before using JAX; see `join`."""
        use_a_device_per_core()
        self.join()

    def join(self) -> None:
        """Joins the other processes if `distributed` is set. Call it before using JAX.

        Raises:
          ScaleError: the flags are incomplete or contradict each other or those of another process.
          LostProcessError: another process is missing after `timeout` seconds.
        """
        global _watch
        meeting = self._meeting()
        if meeting is None:
            return
        deadline = time.monotonic() + meeting.timeout
        connections, address = meet(meeting)
        _watch = Watch(connections)
        _watch.start()
        left = max(CONNECT_SECONDS, deadline - time.monotonic())
        try:
            _connect(meeting, address, left)
        except BaseException as error:
            _watch.say_failure(130 if isinstance(error, KeyboardInterrupt) else 1)
            raise
        atexit.register(_watch.say_goodbye)  # runs before JAX waits for the others to end

    def _meeting(self) -> Meeting | None:
        """Who is to meet where; None for a single process. Raises ScaleError."""
        given = (self.coordinator, self.processes, self.process)
        is_given = [value is not None for value in given]
        if not self.distributed:
            if any(is_given):
                raise ScaleError(
                    "--coordinator, --processes and --process require --distributed: add it."
                )
            return None
        if any(is_given) and not all(is_given):
            raise ScaleError(
                "--coordinator HOST:PORT, --processes N and --process I belong together: give all "
                "three, or none under SLURM or Kubernetes."
            )
        if self.timeout < 1:
            raise ScaleError(f"--timeout must be at least 1 (second), got {self.timeout}.")
        coordinator, processes, process = given if all(is_given) else _detect(self.timeout)
        if processes < 1:
            raise ScaleError(f"--processes must be at least 1, got {processes}.")
        if not 0 <= process < processes:
            raise ScaleError(
                f"--process must be 0 to {processes - 1} with --processes {processes}, "
                f"got {process}."
            )
        address = Address.parse(coordinator, "--coordinator")
        bind = None if all(is_given) or process > 0 else _reachable(address)
        if (given_bind := os.environ.get(BIND_ADDRESS)) is not None:
            bind = Address.parse(given_bind, BIND_ADDRESS)
        about = {"JAX": jax.__version__}
        return Meeting(address, processes, process, self.timeout, about, bind)


def _detect(timeout: int) -> tuple[str, int, int]:
    """The coordinator, the number of processes and the index of this one, as the cluster says.

    `jax.distributed.initialize` finds them the same way, but tells nobody before it connects.
    """
    try:
        from jax._src.clusters import ClusterEnv

        found = ClusterEnv.auto_detect_unset_distributed_params(
            os.environ.get("JAX_COORDINATOR_ADDRESS"), None, None, None, None, timeout
        )
        if None in found[:3]:
            raise ValueError("it is no cluster that JAX knows")
    except (AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ScaleError(
            f"The environment does not say which process this is ({error}): give "
            "--coordinator HOST:PORT, --processes N and --process I."
        ) from error
    return found[:3]


def _reachable(address: Address) -> Address | None:
    """Where process 0 of a cluster listens, if not at its own address.

    Debian's /etc/hosts gives a machine's own name a loopback address, which other machines cannot
    reach; then process 0 listens at all addresses, as JAX does.
    """
    if address.host == "localhost":
        return None
    numbers = [Address(*place[:2]) for _, place in resolve(address)]
    return Address("::", address.port) if all(x.is_loopback() for x in numbers) else None


def _connect(meeting: Meeting, address: Address, seconds: float) -> None:
    """Connects JAX's runtime, or ends this process after so many seconds."""
    sentence = (
        f"JAX did not connect the processes at {address} within {seconds:.0f} seconds, although "
        "they had met there; is a proxy or a firewall between them?"
    )
    alarm = threading.Timer(seconds, end_with, [sentence])
    alarm.daemon = True
    alarm.start()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it logs when a process ends
    try:
        jax.distributed.initialize(
            str(address),
            meeting.processes,
            meeting.process,
            coordinator_bind_address=str(address),
            initialization_timeout=int(seconds) + 60,  # JAX aborts then; `alarm` comes before
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=REPORT_SECONDS,
        )
    except RuntimeError as error:
        raise LostProcessError(f"JAX cannot connect the processes at {address}: {error}") from error
    finally:
        alarm.cancel()


def is_multiprocess() -> bool:
    """Whether this process is one of several."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_writer() -> bool:
    """Whether this process prints, and reads and writes files."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def broadcast_from_writer(tree: PyTree) -> PyTree:
    """Returns the writer's pytree of arrays in every process."""
    if not is_multiprocess():
        return tree
    with detect_lost_processes():
        tree = multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, tree))
    return jax.tree.map(np.asarray, tree)


def broadcast_text_from_writer(text: str) -> str:
    """Returns the writer's text in every process."""
    local = np.frombuffer(text.encode(), np.uint8)
    shared = np.zeros(broadcast_from_writer(np.int32(len(local))), np.uint8)
    count = min(len(local), len(shared))
    shared[:count] = local[:count]
    return bytes(broadcast_from_writer(shared)).decode()


def wait_for_all(name: str) -> None:
    """Returns when every process has reached this call."""
    if is_multiprocess():
        with detect_lost_processes():
            multihost_utils.sync_global_devices(name)


def check_same_everywhere(what: str, value: Any) -> None:
    """Checks that a JSON value is the same in every process.

    Raises:
      ScaleError: it differs.
    """
    if not is_multiprocess():
        return
    content = json.dumps(value, sort_keys=True).encode()
    local = np.frombuffer(hashlib.sha256(content).digest(), np.uint32)
    with detect_lost_processes():
        gathered = multihost_utils.process_allgather(local)
    if (gathered != gathered[0]).any():
        raise ScaleError(
            f"The processes differ in their {what}: start all of them with the same command except "
            "for --process, and with the same versions of all packages."
        )


@contextmanager
def detect_lost_processes() -> Iterator[None]:
    """Inside, a collective that fails because a process is gone raises LostProcessError."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if not is_multiprocess() or not _LOST.search(str(error)):
            raise
        if _watch is not None:  # it knows which process, and ends this one
            time.sleep(3 * GRACE_SECONDS)
        raise LostProcessError(
            "another process has ended or cannot be reached; its output says why. Start all "
            "processes again with the same command: they resume from the last checkpoint. "
            f"({first_line(error)[:200]})"
        ) from error


@contextmanager
def silence_non_writers() -> Iterator[None]:
    """Inside, only the writer prints to standard output."""
    if is_writer():
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as devnull, redirect_stdout(devnull):
        yield


def exit_immediately(status: int) -> NoReturn:
    """Ends a failed process. A normal exit under JAX would wait for the other processes first."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        if _watch is not None:
            _watch.say_failure(status)
    finally:
        os._exit(status)
