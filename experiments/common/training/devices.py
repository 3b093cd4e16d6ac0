"""The processor cores that a program may use."""

import os

import jax


def available_cores() -> int:
    """The number of cores this process may use; by default XLA uses as many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_a_device_per_core() -> None:
    """Gives JAX one CPU device per core, so that a sweep uses all cores. Call it before JAX."""
    jax.config.update("jax_num_cpu_devices", available_cores())
