"""How the time of a training step grows with T, B and H: `python -m experiments.benchmark --cost`.

Each table changes one size, for one thread and for all of them. A process has the threads it starts
with, so each number of threads is measured in a process of its own. "work" is the number of
floating-point operations of the matrix products in a training step, 18·T·B·H·(I + H), and "limit"
the time that they take at the rate of a large product on the same threads, plus one pass over the
arrays (`experiments.benchmark.grid.roofline_ms`).

The last table has the gradient of the last state alone, with and without `jax.checkpoint` around
pieces of the sequence: the memory of long sequences.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import grujax
from experiments.benchmark.grid import product_flops
from experiments.benchmark.measurements import Measurement, measure
from experiments.benchmark.peers import Problem, Setting, make_problem
from experiments.common.outputs import write_text
from experiments.common.report.counts import count
from experiments.common.report.timing import Run, time_interleaved
from grujax import GRUParams

AXES = {"steps": "T", "batch": "B", "hidden_size": "H"}
SMALL = Setting(steps=100, batch=1, input_size=32, hidden_size=32)
USUAL = Setting(steps=128, batch=16, input_size=64, hidden_size=64)
PIECE = 1000  # steps between two states that are kept
LEAST_ROUNDS = 3

Result = TypeVar("Result")


class Sweep(NamedTuple):
    """One table: a setting, and the values of one of its sizes."""

    setting: Setting
    axis: str  # a key of AXES
    values: tuple[int, ...]

    def settings(self) -> list[Setting]:
        """The setting with each value."""
        return [replace(self.setting, **{self.axis: value}) for value in self.values]


SWEEPS = (
    Sweep(SMALL, "steps", (100, 1000, 10_000, 100_000, 1_000_000)),
    Sweep(USUAL, "batch", (1, 4, 16, 64, 256, 1024)),
    Sweep(USUAL, "hidden_size", (16, 32, 64, 128, 256, 512, 1024)),
)
LENGTHS = (1000, 10_000, 100_000, 1_000_000)  # of the table of memory


class Memory(NamedTuple):
    """Seconds of a gradient, and the bytes of its temporaries."""

    seconds: float
    temporaries: int


def measure_sweep(sweep: Sweep, seconds: float) -> list[Measurement]:
    """Measures a table's training steps on the threads of this process."""
    return [
        measurement
        for setting in sweep.settings()
        for measurement in measure(setting, ["grujax native"], seconds)
        if measurement.mode == "training"
    ]


def last_state(params: GRUParams, xs: Array, piece: int | None) -> Array:
    """The last state [B, H] of `xs` [T, B, I], which is kept after each `piece` of steps alone."""
    h0 = jnp.zeros((xs.shape[1], params.hidden_size), xs.dtype)
    if piece is None:
        return grujax.gru(params, xs, h0)[0]

    @jax.checkpoint
    def run_piece(h: Array, start: Array) -> tuple[Array, None]:
        return grujax.gru(params, jax.lax.dynamic_slice_in_dim(xs, start, piece), h)[0], None

    return jax.lax.scan(run_piece, h0, jnp.arange(0, len(xs), piece))[0]


def measure_memory(
    lengths: Sequence[int], seconds: float, piece: int = PIECE
) -> list[tuple[Memory, Memory]]:
    """Measures the gradient of the weights for each T, without and with pieces."""
    rows = []
    for steps in lengths:
        problem = make_problem(replace(SMALL, steps=steps))
        programs = {
            "whole": compile_gradient(problem, None),
            "pieces": compile_gradient(problem, piece),
        }
        runs = {name: run for name, (run, _) in programs.items()}
        times = time_interleaved(runs, seconds, LEAST_ROUNDS)
        whole, pieces = (Memory(float(np.median(times[n])), programs[n][1]) for n in programs)
        rows.append((whole, pieces))
    return rows


def compile_gradient(problem: Problem, piece: int | None) -> tuple[Run, int]:
    """The gradient of the weights, see `last_state`, and the bytes of its temporaries."""
    params, c_last = problem.layers[0][0], problem.c_last[0][0]

    def loss(params: GRUParams, xs: Array) -> Array:
        return jnp.vdot(last_state(params, xs, piece), c_last)

    compiled = jax.jit(jax.grad(loss)).lower(params, problem.xs).compile()
    temporaries = compiled.memory_analysis().temp_size_in_bytes
    return lambda: jax.block_until_ready(compiled(params, problem.xs)), temporaries


def with_threads(threads: int, function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function in a new process in which XLA and the kernel have so many threads."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, spawn, _use_threads, (threads,)) as executor:
        return executor.submit(function, *arguments).result()


def _use_threads(threads: int) -> None:
    os.environ["PJRT_NPROC"] = str(threads)  # before JAX starts
    jax.config.update("jax_platforms", "cpu")


def format_sweep(sweep: Sweep, costs: dict[int, list[Measurement]]) -> str:
    """The Markdown table of a sweep, for each number of threads."""
    parts = [
        f"{AXES[axis]} = {getattr(sweep.setting, axis):,}" for axis in AXES if axis != sweep.axis
    ]
    header = [AXES[sweep.axis], "work, GFLOP"]
    for threads in costs:
        header += [f"{count(threads, 'thread')}: ms", "limit, ms", "limit / ms"]
    lines = [header]
    for row, (value, setting) in enumerate(zip(sweep.values, sweep.settings(), strict=True)):
        cells = [f"{value:,}", f"{product_flops(setting, 'training') / 1e9:.3g}"]
        for measured in costs.values():
            time_ms, limit_ms = measured[row].median_ms, measured[row].roofline_ms
            cells += [_digits(time_ms), _digits(limit_ms), f"{limit_ms / time_ms:.0%}"]
        lines.append(cells)
    caption = f"{', '.join(parts)}, I = {sweep.setting.input_size}:"
    return f"{caption}\n\n{_markdown(lines)}"


def format_memory(
    lengths: Sequence[int], rows: Sequence[tuple[Memory, Memory]], piece: int = PIECE
) -> str:
    """The Markdown table of long sequences."""
    header = [
        "T",
        "whole: ms",
        "temporaries, MB",
        f"pieces of {piece:,} steps: ms",
        "temporaries, MB",
    ]
    lines = [header]
    for steps, row in zip(lengths, rows, strict=True):
        cells = [(_digits(1e3 * m.seconds), f"{m.temporaries / 1e6:,.3g}") for m in row]
        lines.append([f"{steps:,}", *(cell for pair in cells for cell in pair)])
    return _markdown(lines)


def report_cost(
    threads: Sequence[int],
    seconds: float,
    path: Path,
    sweeps: Sequence[Sweep] = SWEEPS,
    lengths: Sequence[int] = LENGTHS,
) -> None:
    """Measures all tables; writes and prints them.

    Args:
      threads: the numbers of threads.
      seconds: of timing for each point.
      path: the Markdown file to write.
    """
    start, tables = time.perf_counter(), []
    for sweep in sweeps:
        costs = {n: with_threads(n, measure_sweep, sweep, seconds) for n in threads}
        tables.append(format_sweep(sweep, costs))
        print(f"{tables[-1]}\n", flush=True)
    rows = with_threads(threads[-1], measure_memory, lengths, seconds)
    tables.append(format_memory(lengths, rows))
    write_text(path, "\n\n".join(tables) + "\n")
    print(f"{tables[-1]}\n\n{time.perf_counter() - start:.0f} s. Written: {path}")


def _digits(number: float) -> str:
    return f"{number:,.3g}" if number < 1000 else f"{number:,.0f}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table, whose first line is its header."""
    header, *rows = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([header, "|---" * len(lines[0]) + "|", *rows])
