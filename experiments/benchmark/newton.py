"""Newton's method, which solves for all steps at once, compared with sequential implementations.

The tables show milliseconds per sequence, forward with B = 1, and the iterations that Newton's
method needs with the full Jacobian of each step ("dense") and with its diagonal. The programs of a
shape take turns.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax import Array

import grujax
from experiments.common.report import format_table
from experiments.common.report.timing import time_interleaved

INPUTS = 8
SECONDS = 2.0  # per shape
MAX_FLOATS = 2**24  # T·H² of the Jacobians; larger ones take too long or too much memory
METHODS = ("dense", "diagonal")


class Row(NamedTuple):
    """One shape's measurement."""

    steps: int
    size: int
    milliseconds: dict[str, float]  # by implementation or method
    iterations: dict[str, int | None]  # by method; None: it fell back to the scan


def make_programs(
    params: grujax.GRUParams, xs: Array, sequential: Sequence[str]
) -> dict[str, Callable[[], object]]:
    """One function per column that runs the sequence; those of METHODS return a `NewtonReport`."""
    programs: dict[str, Callable[[], object]] = {}
    for name in sequential:
        run = jax.jit(grujax.gru, static_argnames="implementation")
        programs[name] = lambda run=run, name=name: jax.block_until_ready(
            run(params, xs, implementation=name)
        )
    for name in METHODS:
        if name == "dense" and len(xs) * params.hidden_size**2 > MAX_FLOATS:
            continue
        report = jax.jit(grujax.newton_report, static_argnames="method")
        programs[name] = lambda report=report, name=name: jax.block_until_ready(
            report(params, xs, method=name)
        )
    return programs


def measure(steps: int, size: int, sequential: Sequence[str]) -> Row:
    """Times a random GRU driven by noise, with Newton's method and `sequential` implementations."""
    params = grujax.init_gru(jax.random.key(0), INPUTS, size)
    xs = jax.random.normal(jax.random.key(1), (steps, 1, INPUTS))
    programs = make_programs(params, xs, sequential)
    iterations = {}
    for name in programs.keys() & set(METHODS):
        report = programs[name]()
        assert isinstance(report, grujax.NewtonReport)
        iterations[name] = None if report.fell_back else int(report.iterations)
    times = time_interleaved(programs, SECONDS, min_rounds=3)
    milliseconds = {name: 1e3 * float(np.median(seconds)) for name, seconds in times.items()}
    return Row(steps, size, milliseconds, iterations)


def format_rows(rows: list[Row]) -> str:
    """The table, one line per shape."""

    def cell(row: Row, name: str) -> str:
        if name not in row.milliseconds:
            return "–"
        text = f"{row.milliseconds[name]:.3g}"
        if name not in row.iterations:
            return text
        count = row.iterations[name]
        return f"{text} ({'fell back' if count is None else count})"

    names = [*dict.fromkeys(name for row in rows for name in _sequential(row)), *METHODS]
    lines = [[f"T {row.steps} H {row.size}", *(cell(row, name) for name in names)] for row in rows]
    return format_table(["ms (iterations)", *names], lines)


def describe_crossover(rows: list[Row]) -> str:
    """How often Newton's method is the fastest, and its relative time at best and worst."""
    ratios = {}
    for row in rows:
        methods = min(row.milliseconds[name] for name in METHODS if name in row.milliseconds)
        others = min(row.milliseconds[name] for name in _sequential(row))
        ratios[f"T {row.steps} H {row.size}"] = methods / others
    least, most = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    return (
        f"Newton's method is the fastest at {sum(r < 1 for r in ratios.values())} of {len(rows)} "
        f"shapes; it takes {ratios[least]:.2g} ({least}) to {ratios[most]:.2g} ({most}) times as "
        "long as the faster sequential program."
    )


def _sequential(row: Row) -> list[str]:
    return [name for name in row.milliseconds if name not in METHODS]
