"""Interleaved timing of several programs, and the speed of the machine itself."""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

MATMUL_SIZE = 2048  # of the square float32 matrices
STREAM_FLOATS = 2**26  # 256 MiB, larger than any cache

SETTLE_SECONDS = 0.05

Run = Callable[[], object]


def time_interleaved(
    runs: Mapping[str, Run],
    seconds: float,
    min_rounds: int = 5,
    max_rounds: int = 15,
    turn_seconds: float = 0.005,
    wait: Callable[[Any], object] = lambda result: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Times functions in turn, so that drift of the machine affects all of them alike.

    In each round every function gets one turn, in random order. A turn is one call, or enough calls
    to fill `turn_seconds`, whose mean is recorded. An untimed call precedes each turn of calls that
    are shorter than SETTLE_SECONDS: the function before has evicted the caches, and the threads of
    its pool may still be spinning.

    Args:
      runs: the functions; each returns when its work is done, or a result to wait for.
      seconds: the time budget for all of them; it sets the number of rounds.
      min_rounds: at least this many rounds, 1 or more, even if they take longer.
      max_rounds: at most this many rounds.
      turn_seconds: the minimum length of a turn.
      wait: waits for what the last call of a turn returned, and for all work that was started
        before. A GPU then computes while the next calls are launched.
      clock: reads the seconds; `time.process_time` counts those of this process's cores.

    Returns: the seconds per call of each function, [rounds].
    """
    estimates = {}
    for name, run in runs.items():
        estimates[name] = _seconds(run, 1, wait, clock)
        if estimates[name] < SETTLE_SECONDS:  # the first call is mostly startup
            estimates[name] = max(_seconds(run, 1, wait, clock), 1e-6)
    order = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    for rounds in range(max_rounds):
        if rounds >= min_rounds and (time.perf_counter() - start) * (rounds + 1) / rounds > seconds:
            break
        for name in order.permutation(list(runs)):
            if estimates[name] < SETTLE_SECONDS:
                wait(runs[name]())
            calls = math.ceil(turn_seconds / estimates[name])
            times[name].append(_seconds(runs[name], calls, wait, clock))
    return {name: np.array(values) for name, values in times.items()}


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Inside, this many processes compute without pause and compete for all cores."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def machine_runs() -> dict[str, tuple[Run, float]]:
    """Two functions that measure the machine, each with the work of one call.

    Returns:
      "matmul": multiplies two square float32 matrices; the work in floating-point operations.
      "stream": adds one to an array in place; the work in bytes read and written.
    """
    matrix = jnp.ones((MATMUL_SIZE, MATMUL_SIZE), jnp.float32)
    multiply = jax.jit(jnp.matmul)
    increment = jax.jit(lambda array: array + 1, donate_argnums=0)
    array = jnp.zeros(STREAM_FLOATS, jnp.float32)

    def stream() -> None:
        nonlocal array
        array = increment(array).block_until_ready()

    return {
        "matmul": (lambda: multiply(matrix, matrix).block_until_ready(), 2.0 * MATMUL_SIZE**3),
        "stream": (stream, 2.0 * array.nbytes),
    }


def _seconds(
    run: Run, calls: int, wait: Callable[[Any], object], clock: Callable[[], float]
) -> float:
    start = clock()
    for _ in range(calls):
        result = run()
    wait(result)
    return (clock() - start) / calls
