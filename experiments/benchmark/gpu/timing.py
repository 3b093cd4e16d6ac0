"""What the device can do at best, and how long calls take on it."""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from experiments.benchmark.gpu.programs import STEPS, Call, Shape

ROUNDS = 3
TURN_SECONDS = 0.02


def time_calls(calls: dict[str, Call]) -> dict[str, float]:
    """Times all calls in turns. Returns: the best round's mean, in microseconds per step.

    The fastest of cuDNN's dtypes is "cuDNN".
    """
    number = {}
    for name, call in calls.items():
        seconds_of(call, 1)
        number[name] = int(np.clip(TURN_SECONDS / seconds_of(call, 1), 1, 20))
    best = dict.fromkeys(calls, np.inf)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            best[name] = min(best[name], seconds_of(call, number[name]) / number[name])
    micros = {name: 1e6 * seconds / STEPS for name, seconds in best.items()}
    cudnn = min(time for name, time in micros.items() if name.startswith("cuDNN"))
    return {n: t for n, t in micros.items() if not n.startswith("cuDNN")} | {"cuDNN": cudnn}


def seconds_of(call: Call, number: int) -> float:
    """The time of `number` calls, launched one after another, then waited for."""
    start = perf_counter()
    for _ in range(number):
        result: Any = call()
    if hasattr(result, "synchronize"):
        result.synchronize()
    else:
        jax.block_until_ready(result)
    return perf_counter() - start


def device_kind() -> str:
    """The name of the GPU."""
    return jax.local_devices(backend="cuda")[0].device_kind


def matmul_rate(dtype: str, size: int = 8192) -> float:
    """The flops per second of one large matrix product."""
    matrix = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    multiply = jax.jit(partial(jnp.matmul, precision=lax.Precision.HIGHEST))
    call = partial(multiply, matrix, matrix)
    seconds_of(call, 1)
    return 2 * size**3 * 5 / seconds_of(call, 5)


def copy_rate(numbers: int = 2**30) -> float:
    """The bytes per second, read and written, of an in-place update (no allocation)."""
    array = jnp.ones(numbers, jnp.float32)
    increment: Callable[[Array], Array] = jax.jit(lambda a: a + 1, donate_argnums=0)

    def call() -> Array:
        nonlocal array
        array = increment(array)
        return array

    seconds_of(call, 1)
    return 2 * 4 * numbers * 5 / seconds_of(call, 5)


def least_microseconds(shape: Shape, mode: str, rate: float, bandwidth: float) -> float:
    """A lower limit for one step: its matrix products, or its bytes, whichever take longer.

    The bytes are those of x and h in the dtype, and of the gates in float32.
    """
    dtype, batch, units = shape
    is_training = mode == "training"
    products = 2 * batch * 2 * units * 3 * units * (3 if is_training else 1)
    stored = 2 * batch * units * jnp.dtype(dtype).itemsize * (3 if is_training else 1)
    between = 3 * batch * units * 4 * 2 + is_training * 2 * (4 + 6) * batch * units * 4
    return 1e6 * max(products / rate, (stored + between) / bandwidth)
