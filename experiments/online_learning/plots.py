"""The figures of `experiments.online_learning`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common.report.plots import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    add_legend,
    save_figure,
)
from experiments.online_learning.costs import Costs
from experiments.online_learning.every_step import Online
from experiments.online_learning.settings import MethodName
from experiments.online_learning.trials import Results

# Exact gradients have one color each, truncated ones blues, and approximations the warm colors.
STYLES: dict[MethodName, dict[str, Any]] = {
    "bptt": {"color": BLACK, "marker": "o", "linestyle": "--"},
    "rtrl": {"color": GREEN, "marker": "s"},
    "tbptt-32": {"color": BLUE, "marker": "v"},
    "tbptt-8": {"color": BLUE, "marker": "v", "mfc": "white", "linestyle": "-."},
    "tbptt-1": {"color": SKY, "marker": "^"},
    "snap-1": {"color": VERMILION, "marker": "D"},
    "eprop": {"color": ORANGE, "marker": "P"},
    "uoro": {"color": PURPLE, "marker": "X"},
    "readout": {"color": GRAY, "marker": "x", "linestyle": ":"},
}


def plot_curves(path: Path, results: Results, guessing: Mapping[str, float]) -> None:
    """Plots the error on the test stream against updates: mean and range of the seeds."""
    figure, panels = _panels(len(results))
    for axis, (task, found) in zip(panels, results.items(), strict=False):
        for method, result in found.items():
            _draw(axis, method, result.updates, 100 * result.errors)
        axis.axhline(100 * guessing[task], color="0.7", linewidth=0.8, zorder=0)
        axis.set(title=task, xlabel="updates", ylim=(-2, 130 * guessing[task]))
        axis.grid(alpha=0.3)
    panels[0].set_ylabel("error, %")
    add_legend(figure, panels[0], "gradient")
    save_figure(figure, path)


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
    add_legend(figure, panels[0], "gradient")
    save_figure(figure, path)


def plot_costs(path: Path, costs: Costs) -> None:
    """Plots the memory of one gradient against the length of its window, and its time."""
    figure = Figure((9.5, 3.6), layout="constrained")
    memory, seconds = figure.subplots(1, 2)
    for method, sizes in costs.memory.items():
        mebibytes = np.array(list(sizes.values())) / 2**20
        memory.plot(list(sizes), mebibytes, label=method, ms=4, **STYLES[method])
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
    add_legend(figure, memory, "gradient")
    save_figure(figure, path)


def plot_modes(path: Path, modes: Mapping[str, Online]) -> None:
    """Plots how exact RTRL's gradient is, and what was learned, against the learning rate."""
    figure = Figure((9.5, 3.4), layout="constrained")
    exactness, errors = figure.subplots(1, 2)
    for (mode, found), color, marker in zip(modes.items(), (VERMILION, BLUE), "os", strict=True):
        style = {"color": color, "marker": marker, "label": mode}
        exactness.plot(found.rates, found.median_deviations, **style)
        percent = 100 * found.errors
        mean = percent.mean(1)
        bars = [mean - percent.min(1), percent.max(1) - mean]
        errors.errorbar(found.rates, mean, bars, capsize=3, **style)
    exactness.set(ylabel="relative error of the gradient", yscale="log")
    exactness.set_ylim(top=min(exactness.get_ylim()[1], 10))  # beyond, trainings diverge
    errors.set(ylabel="error on the flip-flop, %")
    for axis in (exactness, errors):
        axis.set(xlabel="learning rate", xscale="log")
        axis.grid(alpha=0.3)
    add_legend(figure, errors, "parameters change")
    save_figure(figure, path)


def _draw(axis: Axes, method: MethodName, updates: np.ndarray, values: np.ndarray) -> None:
    """Draws the mean of values [S, E], and the range of the seeds as a band."""
    mean = values.mean(0)
    axis.plot(updates, mean, label=method, linewidth=1.6, ms=4, **STYLES[method])
    axis.fill_between(
        updates, values.min(0), values.max(0), color=STYLES[method]["color"], alpha=0.1, linewidth=0
    )


def _panels(number: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure with a panel for each task, three in a row."""
    columns = min(number, 3)
    rows = -(-number // columns)
    figure = Figure((3.3 * columns + 1.2, 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in panels[number:]:
        axis.set_axis_off()
    return figure, panels
