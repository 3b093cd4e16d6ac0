"""For which GPU a program is compiled: its compute capability and its multiprocessors.

JAX does not tell a lowering rule which devices the program is for, only the platform. So a program
is compiled for the GPUs of this process: for the oldest of them, whose PTX the others run too. A
process without a GPU compiles for an H100.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

# What NVRTC compiles for; a later GPU runs the PTX of the newest entry that is not later.
_ARCHITECTURES = {(7, 5): "compute_75", (8, 0): "compute_80", (9, 0): "compute_90"}
OLDEST = min(_ARCHITECTURES)
_FIRST_WITH_CLUSTERS = (9, 0)


class Device(NamedTuple):
    """What the kernel must know about a GPU."""

    capability: tuple[int, int]
    multiprocessors: int  # how many blocks run at once

    @property
    def architecture(self) -> str:
        """What NVRTC compiles for."""
        return _ARCHITECTURES[max(c for c in _ARCHITECTURES if c <= self.capability)]

    @property
    def has_clusters(self) -> bool:
        """Whether blocks can exchange states, so that several share the units of a row."""
        return self.capability >= _FIRST_WITH_CLUSTERS


H100 = Device((9, 0), 132)


def local_gpus() -> list[Any]:
    """JAX's NVIDIA GPUs of this process."""
    try:
        return jax.local_devices(backend="cuda")
    except RuntimeError:
        return []


def capability_of(gpu: Any) -> tuple[int, int]:
    """The compute capability of one of JAX's devices."""
    major, minor = gpu.compute_capability.split(".")
    return int(major), int(minor)


def target() -> Device:
    """The device that a program is compiled for."""
    gpus = local_gpus()
    if not gpus:
        return H100
    return Device(min(map(capability_of, gpus)), min(gpu.core_count for gpu in gpus))
