"""When all steps at once pay: Newton's method beside the scan and the native kernel.

    python -m experiments.newton_benchmark       a few minutes on 2 CPU cores

Milliseconds a sequence, forward with B = 1, all programs of a row taking turns, and the iterations
that Newton's method needs, with the whole Jacobian of each step ("dense") and with its diagonal. It
trades more work for fewer steps in a row: a CPU has few arithmetic units to do it with.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from tqdm import tqdm

import grujax
from experiments.common.report import format_table
from experiments.common.timing import time_interleaved

STEPS, SIZES = (1_000, 10_000, 100_000), (4, 8, 16, 32)
INPUTS = 8
SECONDS = 2.0  # of a row's measurement
MOST_FLOATS = 2**24  # T·H² of the Jacobians: beyond this they take too long, or do not fit
SEQUENTIAL = ("scan", "native")
METHODS = ("dense", "diagonal")


class Row(NamedTuple):
    """One shape's measurement."""

    steps: int
    size: int
    milliseconds: dict[str, float]  # of what ran
    iterations: dict[str, int]  # of a method


def programs_of(params: grujax.GRUParams, xs: Array) -> dict[str, Callable[[], object]]:
    """For each column a function that runs the sequence; a method's makes its report."""
    programs: dict[str, Callable[[], object]] = {}
    for name in SEQUENTIAL:
        run = jax.jit(grujax.gru, static_argnames="implementation")
        programs[name] = lambda run=run, name=name: jax.block_until_ready(
            run(params, xs, implementation=name)
        )
    for name in METHODS:
        if name == "dense" and len(xs) * params.hidden_size**2 > MOST_FLOATS:
            continue
        report = jax.jit(grujax.newton_report, static_argnames="method")
        programs[name] = lambda report=report, name=name: jax.block_until_ready(
            report(params, xs, method=name)
        )
    return programs


def measure(steps: int, size: int) -> Row:
    """An initialised GRU, driven by noise."""
    params = grujax.init_gru(jax.random.key(0), INPUTS, size)
    xs = jax.random.normal(jax.random.key(1), (steps, 1, INPUTS))
    programs = programs_of(params, xs)
    iterations = {}
    for name in programs.keys() & set(METHODS):
        report = programs[name]()
        assert isinstance(report, grujax.NewtonReport)
        if report.fell_back:
            raise RuntimeError(f'"{name}" has not converged for T = {steps}, H = {size}.')
        iterations[name] = int(report.iterations)
    times = time_interleaved(programs, SECONDS, min_rounds=3)
    milliseconds = {name: 1e3 * float(np.median(seconds)) for name, seconds in times.items()}
    return Row(steps, size, milliseconds, iterations)


def table_of(rows: list[Row]) -> str:
    """A line for each shape."""

    def cell(row: Row, name: str) -> str:
        if name not in row.milliseconds:
            return "–"
        text = f"{row.milliseconds[name]:.3g}"
        return f"{text} ({row.iterations[name]})" if name in row.iterations else text

    names = (*SEQUENTIAL, *METHODS)
    lines = [[f"T {row.steps} H {row.size}", *(cell(row, name) for name in names)] for row in rows]
    return format_table(["ms (iterations)", *names], lines)


def crossover_of(rows: list[Row]) -> str:
    """At how many shapes Newton's method is the fastest, and how far from it at best and worst."""
    ratios = {}
    for row in rows:
        best = {
            names: min(row.milliseconds[name] for name in names if name in row.milliseconds)
            for names in (SEQUENTIAL, METHODS)
        }
        ratios[f"T {row.steps} H {row.size}"] = best[METHODS] / best[SEQUENTIAL]
    least, most = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    return (
        f"Newton's method is the fastest at {sum(r < 1 for r in ratios.values())} of {len(rows)} "
        f"shapes; it takes {ratios[least]:.2g} ({least}) to {ratios[most]:.2g} ({most}) times as "
        "long as the faster sequential program."
    )


def main() -> None:
    """Measures and prints a table."""
    shapes = [(steps, size) for steps in STEPS for size in SIZES]
    rows = [measure(*shape) for shape in tqdm(shapes, desc="shapes")]
    print(table_of(rows))
    print(crossover_of(rows))


if __name__ == "__main__":
    main()
