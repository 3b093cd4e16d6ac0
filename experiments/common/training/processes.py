"""Several processes as one program, on JAX's distributed runtime: who they are, and who writes.

Every process runs the same script on the same data. Process 0 is the writer: it alone prints, and
reads and writes files; what it read, a checkpoint say, it hands to the others.
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

HEARTBEAT_SECONDS = 30  # without a sign of life for so long, a process counts as dead
REPORT_SECONDS = 4 * 3600  # that a process may end before the others, which report say
JOIN_SECONDS = 120  # that the processes may start after each other

# What the collectives of JAX say when another process has gone.
_LOST = re.compile(r"gloo|nccl|UNAVAILABLE|DEADLINE_EXCEEDED|connection|socket|barrier", re.I)


class LostProcessError(RuntimeError):
    """Another process has ended, or cannot be reached."""


class ScaleError(ValueError):
    """The flags for devices and processes cannot be followed; the message says why."""


@dataclass(frozen=True)
class Processes:
    """Which of several processes this one is."""

    distributed: bool = False  # one of several processes; SLURM or Kubernetes say which
    coordinator: str | None = None  # HOST:PORT of process 0, where nobody says it
    processes: int | None = None  # how many there are, where nobody says it
    process: int | None = None  # which of them this one is, from 0

    def prepare(self) -> None:
        """Sets up JAX for a sweep, before it is first used: a device per core. Raises as `join`."""
        use_a_device_per_core()
        self.join()

    def join(self) -> None:
        """Meets the other processes, if this is to be one of several; before JAX is first used.

        Raises:
          ScaleError: what the flags say is not enough, or contradicts itself.
        """
        given = (self.coordinator, self.processes, self.process)
        if not self.distributed:
            if any(value is not None for value in given):
                raise ScaleError(
                    "--coordinator, --processes and --process are for --distributed: add it."
                )
            return
        if any(value is None for value in given) and any(value is not None for value in given):
            raise ScaleError(
                "--coordinator HOST:PORT, --processes N and --process I belong together: give all "
                "three, or none where SLURM or Kubernetes say them."
            )
        if self.process is not None and not 0 <= self.process < (self.processes or 0):
            raise ScaleError(
                f"--process must be 0 to {(self.processes or 0) - 1} with --processes "
                f"{self.processes}, got {self.process}."
            )
        if self.coordinator is not None and not re.fullmatch(r".+:\d+", self.coordinator):
            raise ScaleError(f"--coordinator must be HOST:PORT, got {self.coordinator!r}.")
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.config.update("jax_enable_preemption_service", False)  # it would log when one ends
        try:
            jax.distributed.initialize(
                *given,
                initialization_timeout=JOIN_SECONDS,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
                shutdown_timeout_seconds=REPORT_SECONDS,
            )
        except ValueError as error:
            raise ScaleError(
                f"Nothing here says which process this is ({error}): give --coordinator "
                "HOST:PORT, --processes N and --process I."
            ) from error


def are_several() -> bool:
    """Whether this process is one of several."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_writer() -> bool:
    """Whether this process prints, and reads and writes files."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def from_writer(tree: PyTree) -> PyTree:
    """A pytree of arrays as the writer has it, in every process."""
    if not are_several():
        return tree
    with noticing_losses():
        tree = multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, tree))
    return jax.tree.map(np.asarray, tree)


def text_from_writer(text: str) -> str:
    """A text as the writer has it, in every process."""
    own = np.frombuffer(text.encode(), np.uint8)
    shared = np.zeros(from_writer(np.int32(len(own))), np.uint8)
    count = min(len(own), len(shared))
    shared[:count] = own[:count]
    return bytes(from_writer(shared)).decode()


def wait_for_all(name: str) -> None:
    """Returns when every process has come here."""
    if are_several():
        with noticing_losses():
            multihost_utils.sync_global_devices(name)


def check_alike(what: str, value: Any) -> None:
    """Checks that a JSON value is the same in every process.

    Raises:
      ScaleError: it is not.
    """
    if not are_several():
        return
    content = json.dumps(value, sort_keys=True).encode()
    own = np.frombuffer(hashlib.sha256(content).digest(), np.uint32)
    with noticing_losses():
        everybody = multihost_utils.process_allgather(own)
    if (everybody != everybody[0]).any():
        raise ScaleError(
            f"The processes differ in their {what}: start all of them with the same command, but "
            "for --process, from the same version of everything."
        )


@contextmanager
def noticing_losses() -> Iterator[None]:
    """Inside, a collective that fails because a process has gone raises LostProcessError."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if not are_several() or not _LOST.search(str(error)):
            raise
        raise LostProcessError(
            "another process has ended or cannot be reached; its own output says why. Start all "
            "of them again with the same command: they go on after what is saved. "
            f"({str(error).splitlines()[0][:200]})"
        ) from error


@contextmanager
def silent_unless_writer() -> Iterator[None]:
    """Inside, only the writer prints to standard output."""
    if is_writer():
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def leave(status: int) -> NoReturn:
    """Ends a process that has failed. JAX's own end would first wait for the others to end, too."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
