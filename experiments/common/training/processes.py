"""Several processes that run as one program on JAX's distributed runtime.

Every process runs the same script on the same data. Process 0 is the writer: only it prints, and
only it reads and writes files. It broadcasts what it reads, a checkpoint for example, to the
others.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.common.training.devices import use_a_device_per_core

PyTree = Any

HEARTBEAT_SECONDS = 30  # a process that is silent for longer counts as dead
REPORT_SECONDS = 4 * 3600  # how much later than the others the writer may end: it writes reports
JOIN_SECONDS = 120  # how far apart the processes may start

# How JAX's collectives report that another process has died.
_LOST = re.compile(r"gloo|nccl|UNAVAILABLE|DEADLINE_EXCEEDED|connection|socket|barrier", re.I)


class LostProcessError(RuntimeError):
    """Another process has ended, or cannot be reached."""


class ScaleError(ValueError):
    """The flags for devices and processes are invalid here; the message says why."""


@dataclass(frozen=True)
class Processes:
    """Which of several processes this one is."""

    distributed: bool = False  # run as one of several processes; SLURM or Kubernetes number them
    coordinator: str | None = None  # HOST:PORT of process 0, unless SLURM or Kubernetes set it
    processes: int | None = None  # their number, unless SLURM or Kubernetes set it
    process: int | None = None  # the index of this one, from 0

    def prepare(self) -> None:
        """Sets up JAX for a sweep: one device per core. Call it before using JAX; see `join`."""
        use_a_device_per_core()
        self.join()

    def join(self) -> None:
        """Joins the other processes if `distributed` is set. Call it before using JAX.

        Raises:
          ScaleError: the flags are incomplete or contradict each other.
        """
        given = (self.coordinator, self.processes, self.process)
        if not self.distributed:
            if any(value is not None for value in given):
                raise ScaleError(
                    "--coordinator, --processes and --process require --distributed: add it."
                )
            return
        if any(value is None for value in given) and any(value is not None for value in given):
            raise ScaleError(
                "--coordinator HOST:PORT, --processes N and --process I belong together: give all "
                "three, or none under SLURM or Kubernetes."
            )
        if self.process is not None and not 0 <= self.process < (self.processes or 0):
            raise ScaleError(
                f"--process must be 0 to {(self.processes or 0) - 1} with --processes "
                f"{self.processes}, got {self.process}."
            )
        if self.coordinator is not None and not re.fullmatch(r".+:\d+", self.coordinator):
            raise ScaleError(f"--coordinator must be HOST:PORT, got {self.coordinator!r}.")
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.config.update("jax_enable_preemption_service", False)  # it logs when a process ends
        try:
            jax.distributed.initialize(
                *given,
                initialization_timeout=JOIN_SECONDS,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
                shutdown_timeout_seconds=REPORT_SECONDS,
            )
        except ValueError as error:
            raise ScaleError(
                f"The environment does not say which process this is ({error}): give "
                "--coordinator HOST:PORT, --processes N and --process I."
            ) from error


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
        raise LostProcessError(
            "another process has ended or cannot be reached; its output says why. Start all "
            "processes again with the same command: they resume from the last checkpoint. "
            f"({str(error).splitlines()[0][:200]})"
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
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
