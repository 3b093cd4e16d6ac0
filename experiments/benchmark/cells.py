"""The cost of the GRU and of other cells: `python -m experiments.benchmark --cells`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import grujax
from experiments.benchmark.peers import MODES, Setting
from experiments.benchmark.peers import cells as peers
from experiments.common.cells import CELLS, Run, hidden_size_for
from experiments.common.outputs import write_text
from experiments.common.report.timing import time_interleaved
from grujax import baselines
from grujax.baselines import count_parameters

BATCHES = (1, 16, 64)  # of the comparison with other libraries


class Row(NamedTuple):
    """A cell and a way to run it over time."""

    label: str
    cell: str  # one of CELLS
    run: Run
    use: str  # what it is for


def _scan(cell: str) -> Run:
    return partial(grujax.scan_cell, CELLS[cell].step)


ROWS = (
    Row(
        "GRU, `grujax.gru`",
        "gru",
        grujax.gru,
        "the default: learns what to keep, with three quarters of an LSTM's parameters",
    ),
    Row("GRU, `scan_cell`", "gru", _scan("gru"), "the same, run like the cells below"),
    Row("LSTM", "lstm", _scan("lstm"), "counting; results to compare with the literature"),
    Row("RNN", "rnn", _scan("rnn"), "short memories; theory without gates"),
    Row(
        "layer-normalized GRU",
        "layer_norm_gru",
        _scan("layer_norm_gru"),
        "world models, reinforcement learning: inputs whose scale drifts",
    ),
    Row(
        "minGRU, `scan_cell`",
        "min_gru",
        _scan("min_gru"),
        "the next row, one step at a time",
    ),
    Row(
        "minGRU, `min_gru`",
        "min_gru",
        baselines.min_gru,
        "long sequences on accelerators; its gates see the input, not the state: stack it",
    ),
)


class Cost(NamedTuple):
    """The cost of a row at one hidden size: medians, in microseconds per time step."""

    hidden_size: int
    parameters: int
    forward: float
    training: float


def report_cells(setting: Setting, seconds: float, path: Path) -> None:
    """Measures every row at the setting's hidden size, and at the GRU's number of parameters.

    All programs take turns (`experiments.common.report.timing`).

    Args:
      setting: the shape; the first comparison uses its hidden size.
      seconds: the time to spend on timing.
      path: the Markdown file to write; the table is also printed.
    """
    parameters = count_parameters(init_params("gru", setting))
    settings = {
        cell: (
            setting,
            replace(
                setting, hidden_size=hidden_size_for(CELLS[cell], setting.input_size, parameters)
            ),
        )
        for cell in CELLS
    }
    programs = {
        f"{row.label} {at.hidden_size} {mode}": compile_program(row, at, mode)
        for row in ROWS
        for at in settings[row.cell]
        for mode in MODES
    }
    times = time_interleaved(programs, seconds)

    def cost(row: Row, at: Setting) -> Cost:
        medians = (np.median(times[f"{row.label} {at.hidden_size} {mode}"]) for mode in MODES)
        micros = (1e6 * float(median) / at.steps for median in medians)
        return Cost(at.hidden_size, count_parameters(init_params(row.cell, at)), *micros)

    table = format_markdown([[cost(row, at) for at in settings[row.cell]] for row in ROWS])
    write_text(path, table + "\n")
    shape = f"T = {setting.steps}, B = {setting.batch}, I = {setting.input_size}"
    print(f"Microseconds per time step, {shape}\n\n{table}\n\nWritten: {path}")


def report_peers(setting: Setting, libraries: Sequence[str], seconds: float, path: Path) -> None:
    """Measures a training step of the LSTM and the RNN of each library, for some numbers of rows.

    All programs of a row of the table take turns.

    Args:
      setting: the shape but for the rows.
      libraries: their names.
      seconds: the time to spend on each row of the table.
      path: the Markdown file to write; the table is also printed.
    """
    columns = ["grujax", *(name for name in libraries if peers.has_cell(name, "lstm"))]
    times: dict[tuple[str, int], dict[str, float]] = {}
    for cell in ("lstm", "rnn"):
        for batch in BATCHES:
            at = replace(setting, batch=batch)
            [ours] = (row for row in ROWS if row.cell == cell)
            programs = {"grujax": compile_program(ours, at, "training")} | {
                name: peers.compile_training(name, cell, at)
                for name in columns
                if peers.has_cell(name, cell)
            }
            runs = time_interleaved(programs, seconds)
            times[cell, batch] = {name: 1e3 * float(np.median(run)) for name, run in runs.items()}
    table = format_peers(columns, times)
    write_text(path, table + "\n")
    print(f"\nMilliseconds of a training step\n\n{table}\n\nWritten: {path}")


def format_peers(columns: Sequence[str], times: Mapping[tuple[str, int], dict[str, float]]) -> str:
    """The table of `report_peers`, from milliseconds by cell and rows, and by library."""
    lines = [
        f"| cell | B | {' | '.join(columns)} | fastest / grujax |",
        "|---" * (3 + len(columns)) + "|",
    ]
    for (cell, batch), ms in times.items():
        cells = [f"{ms[name]:.3g}" if name in ms else "–" for name in columns]
        others = [time for name, time in ms.items() if name != "grujax"]
        ratio = f"{min(others) / ms['grujax']:.2f}" if others else "–"
        lines.append(f"| {cell.upper()} | {batch} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines)


def compile_program(row: Row, setting: Setting, mode: str) -> Callable[[], Any]:
    """Compiles a program; a call returns when everything is computed.

    "forward" returns all outputs and the last state; "training" the gradients of Σ outputs ∘ c with
    respect to parameters, inputs and the initial state, for a fixed random c.
    """
    cell, (key_xs, key_c) = CELLS[row.cell], jax.random.split(jax.random.key(1))
    xs = jax.random.normal(key_xs, (setting.steps, setting.batch, setting.input_size))
    c = jax.random.normal(key_c, (setting.steps, setting.batch, setting.hidden_size))
    state0 = cell.initial_state((setting.batch, setting.hidden_size), xs.dtype)

    def forward(params: Any, xs: Array, state0: Any) -> tuple[Any, Array]:
        state_last, states = row.run(params, xs, state0)
        return state_last, cell.output(states)

    def loss(params: Any, xs: Array, state0: Any) -> Array:
        return jnp.vdot(forward(params, xs, state0)[1], c)

    function: Callable[..., Any] = forward
    if mode == "training":
        function = jax.value_and_grad(loss, argnums=(0, 1, 2))
    arguments = (init_params(row.cell, setting), xs, state0)
    compiled = jax.jit(function).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def init_params(cell: str, setting: Setting) -> Any:
    """Initializes a cell for a setting's sizes."""
    return CELLS[cell].init(jax.random.key(0), setting.input_size, setting.hidden_size)


def format_markdown(costs: Sequence[Sequence[Cost]]) -> str:
    """The tables of the page of benchmarks: at equal size, at equal parameters, and the uses."""
    (first, _), *_ = costs
    same_size = [
        f"| H = {first.hidden_size} | parameters | forward | training |",
        "|---|---|---|---|",
    ]
    same_count = [f"| {first.parameters:,} parameters | H | forward | training |", same_size[1]]
    uses = ["| cell | what it is for |", "|---|---|"]
    for row, (one, other) in zip(ROWS, costs, strict=True):
        same_size.append(f"| {row.label} | {one.parameters:,} | {_times(one)} |")
        same_count.append(f"| {row.label} | {other.hidden_size} | {_times(other)} |")
        uses.append(f"| {row.label} | {row.use} |")
    return "\n\n".join("\n".join(lines) for lines in (same_size, same_count, uses))


def _times(cost: Cost) -> str:
    return f"{cost.forward:.1f} | {cost.training:.1f}"
