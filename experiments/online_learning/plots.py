"""The figures of `experiments.online_learning`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common.outputs import write_figure
from experiments.memory.intervals import interval
from experiments.online_learning.costs import Costs
from experiments.online_learning.every_step import Online
from experiments.online_learning.settings import MethodName
from experiments.online_learning.trials import Results

# Exact gradients are dark, truncated ones blue, approximations warm.
STYLES: dict[MethodName, dict[str, Any]] = {
    "bptt": {"color": "black", "linestyle": "--"},
    "rtrl": {"color": "tab:green"},
    "tbptt-32": {"color": "#08519c"},
    "tbptt-8": {"color": "#4292c6"},
    "tbptt-1": {"color": "#9ecae1"},
    "snap-1": {"color": "tab:red"},
    "eprop": {"color": "tab:orange"},
    "uoro": {"color": "tab:purple"},
    "readout": {"color": "0.5", "linestyle": ":"},
}


def plot_curves(path: Path, results: Results, guessing: Mapping[str, float]) -> None:
    """Plots the error on the test stream against updates: mean and interval over the seeds."""
    figure, panels = _panels(len(results))
    for axis, (task, found) in zip(panels, results.items(), strict=False):
        for method, result in found.items():
            _draw(axis, method, result.updates, 100 * result.errors)
        axis.axhline(100 * guessing[task], color="0.7", linewidth=0.8, zorder=0)
        axis.set(title=task, xlabel="updates", ylim=(-2, 130 * guessing[task]))
        axis.grid(alpha=0.3)
    panels[0].set_ylabel("error, %")
    _add_legend(figure, panels)
    write_figure(path, figure)


def plot_cosines(path: Path, results: Results) -> None:
    """Plots the cosine of each gradient with the exact one against updates."""
    figure, panels = _panels(len(results))
    for axis, (task, found) in zip(panels, results.items(), strict=False):
        for method, result in found.items():
            if method != "readout":  # which has no gradient of the recurrent weights
                _draw(axis, method, result.updates, result.cosines)
        axis.set(title=task, xlabel="updates", ylim=(-0.25, 1.05))
        axis.grid(alpha=0.3)
    panels[0].set_ylabel("cosine with the exact gradient")
    _add_legend(figure, panels)
    write_figure(path, figure)


def plot_costs(path: Path, costs: Costs) -> None:
    """Plots the memory of one gradient against the length of its window, and its time."""
    figure = Figure((9.5, 3.6), dpi=120, layout="constrained")
    memory, seconds = figure.subplots(1, 2)
    for method, sizes in costs.memory.items():
        style = STYLES[method]
        memory.plot(list(sizes), np.array(list(sizes.values())) / 2**20, "o", label=method, **style)
        memory.lines[-1].set_linestyle(style.get("linestyle", "-"))
    memory.set(xlabel="steps T", ylabel="memory of a gradient, MiB")
    memory.set_xscale("log", base=2)
    memory.set_yscale("log")
    memory.set_xticks(list(sizes), [str(steps) for steps in sizes])
    times = {method: 1000 * np.median(values) for method, values in costs.seconds.items()}
    colors = [STYLES[method]["color"] for method in times]
    seconds.barh(list(times), list(times.values()), color=colors)
    seconds.invert_yaxis()
    seconds.set(xlabel=f"processor time of a gradient, T = {min(sizes)}, ms", xscale="log")
    for axis in (memory, seconds):
        axis.grid(alpha=0.3)
    memory.legend(fontsize=7)
    write_figure(path, figure)


def plot_modes(path: Path, modes: Mapping[str, Online]) -> None:
    """Plots how exact RTRL's gradient is, and what was learned, against the learning rate."""
    figure = Figure((9.5, 3.4), dpi=120, layout="constrained")
    exactness, errors = figure.subplots(1, 2)
    for mode, found in modes.items():
        for axis, values in ((exactness, found.deviations), (errors, 100 * found.errors)):
            axis.errorbar(
                found.rates, values.mean(1), interval(values), marker="o", capsize=3, label=mode
            )
    exactness.set(ylabel="relative error of the gradient", yscale="log")
    errors.set(ylabel="error on the flip-flop, %")
    for axis in (exactness, errors):
        axis.set(xlabel="learning rate", xscale="log")
        axis.grid(alpha=0.3)
    exactness.legend(title="parameters change", fontsize=8)
    write_figure(path, figure)


def _draw(axis: Axes, method: MethodName, updates: np.ndarray, values: np.ndarray) -> None:
    """Draws the mean of values [S, E], and its interval as a band."""
    mean, half = values.mean(0), interval(values.T)
    axis.plot(updates, mean, label=method, linewidth=1.6, **STYLES[method])
    axis.fill_between(
        updates, mean - half, mean + half, color=STYLES[method]["color"], alpha=0.15, linewidth=0
    )


def _panels(number: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a panel for each task, three in a row."""
    columns = min(number, 3)
    rows = -(-number // columns)
    figure = Figure((3.3 * columns + 1.2, 2.9 * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in panels[number:]:
        axis.set_axis_off()
    return figure, panels


def _add_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    lines = panels[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside right upper", fontsize=8)
