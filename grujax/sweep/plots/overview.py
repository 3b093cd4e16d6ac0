"""The figure of a sweep: parallel coordinates, single hyperparameters, learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grujax.sweep.plots.axes import (
    BEST,
    COLUMNS,
    TRIALS,
    as_floats,
    new_figure,
    show_range,
    small_axes,
    title_of,
)
from grujax.sweep.plots.marginals import draw_metric
from grujax.sweep.plots.parallel import draw_parallel
from grujax.sweep.result import SweepResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_sweep(result: SweepResult, metric: str, mode: str) -> Figure:
    """See `SweepResult.plot`."""
    best = result.best(metric, mode).trial
    names = list(result.trials)
    real = {name: array for name, array in result.metrics.items() if array.dtype.kind != "c"}
    curves = [name for name, array in real.items() if array.ndim == 2]
    widths = [1, *[min(len(part), COLUMNS) for part in (names, curves) if part]]
    rows = [-(-len(part) // COLUMNS) for part in (names, curves)]
    figure = new_figure("plot", max(7.0, 2.9 * max(widths)), 3.2 + 2.6 * sum(rows))
    first, *parts = figure.subfigures(
        1 + sum(row > 0 for row in rows),
        height_ratios=[3.2, *[2.6 * row for row in rows if row]],
        squeeze=False,
    )[:, 0]
    draw_parallel(first, result, metric, best, mode)
    if names:
        draw_metric(parts[0], result, metric, best)
    if curves:
        _draw_curves(parts[-1], result, curves, best)
    return figure


def _draw_curves(part: Any, result: SweepResult, curves: list[str], best: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = small_axes(part, curves, sharey=False)
    for axis, name in zip(axes, curves, strict=True):
        values = as_floats(result.metrics[name])
        steps = np.arange(1, values.shape[1] + 1)
        axis.plot(steps, values.T, color=TRIALS, alpha=0.25, linewidth=0.8)
        axis.plot(steps, values[best], color=BEST, linewidth=2)
        show_range(axis, values)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(xlabel="position in the curve", ylabel=title_of(name))
        axis.grid(alpha=0.3)
