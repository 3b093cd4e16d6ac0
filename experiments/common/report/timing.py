"""Timing of programs beside each other, and what the machine itself can do."""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np

MATMUL_SIZE = 2048  # of the square float32 matrices
STREAM_FLOATS = 2**26  # 256 MiB, more than any cache holds

SETTLE_SECONDS = 0.05

Run = Callable[[], object]


def time_interleaved(
    runs: Mapping[str, Run],
    seconds: float,
    min_rounds: int = 5,
    max_rounds: int = 15,
    turn_seconds: float = 0.005,
) -> dict[str, np.ndarray]:
    """Times functions in turns, so that the machine's drift hits all of them alike.

    In each round every function has one turn, in an order drawn anew. A turn is one call, or of a
    function that takes less than `turn_seconds` as many as fill that time; their mean counts. Where
    a call takes less than SETTLE_SECONDS, one that does not count comes first: the function before
    has emptied the caches, and the threads of its pool may still be spinning.

    Args:
      runs: the functions; each returns when its work is done.
      seconds: the time to spend on all of them; the number of rounds follows from it.
      min_rounds: rounds even if that takes longer; one or more.
      max_rounds: rounds even if that takes less.
      turn_seconds: the least length of a turn.

    Returns: for each function its seconds per call, [rounds].
    """
    estimates = {}
    for name, run in runs.items():
        estimates[name] = _seconds(run, 1)
        if estimates[name] < SETTLE_SECONDS:  # the first call of a short one is mostly its start
            estimates[name] = max(_seconds(run, 1), 1e-6)
    order = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    for rounds in range(max_rounds):
        if rounds >= min_rounds and (time.perf_counter() - start) * (rounds + 1) / rounds > seconds:
            break
        for name in order.permutation(list(runs)):
            if estimates[name] < SETTLE_SECONDS:
                runs[name]()
            calls = math.ceil(turn_seconds / estimates[name])
            times[name].append(_seconds(runs[name], calls))
    return {name: np.array(values) for name, values in times.items()}


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Meanwhile so many processes compute without a pause, and want all cores."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def machine_runs() -> dict[str, tuple[Run, float]]:
    """What measures the machine: for each of two functions, how much work one call of it does.

    Returns:
      "matmul": the product of two square float32 matrices, and its floating-point operations.
      "stream": adds one to an array in place, and the bytes it reads and writes.
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


def _seconds(run: Run, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
