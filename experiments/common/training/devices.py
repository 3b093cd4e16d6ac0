"""The processor cores that a program may use."""

import os

import jax


def available_cores() -> int:
    """The cores this process may use: XLA takes as many threads by itself."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_a_device_per_core() -> None:
    """Gives JAX one CPU device for each core, so that a sweep runs on all; before JAX is used."""
    jax.config.update("jax_num_cpu_devices", available_cores())
