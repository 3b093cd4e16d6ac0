"""Parallel coordinates: a line for each trial through its hyperparameters and its metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grujax.checks import check_instance
from grujax.sweep.plots.axes import BEST, as_floats, colors_of, new_figure, scale, title_of
from grujax.sweep.result import SweepResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DIVERGED = "0.75"


def plot_parallel(result: SweepResult, metric: str, mode: str = "min") -> Figure:
    """Plots parallel coordinates: one line per trial through its hyperparameters and its metric.

    The lines are colored by the metric. The best trial is orange, and drawn on top; trials whose
    metric is NaN are dotted. The axis of a positive hyperparameter or metric that spans more than a
    factor of 30 is logarithmic.

    Args:
        result: the trials, with metrics `[n]`.
        metric: the name of a scalar metric.
        mode: whether the least ("min") or greatest ("max") value is best.

    Returns:
        A matplotlib figure, for `savefig`.

    Raises:
        ValueError: as `SweepResult.best`.
        ImportError: without matplotlib.

    Example:
        >>> from grujax.sweep import SweepResult
        >>> result = SweepResult(
        ...     {"rate": np.array([0.1, 0.2])}, {"loss": np.array([3.0, 2.0])}, np.zeros(2, bool)
        ... )
        >>> len(plot_parallel(result, "loss").axes)
        1
    """
    check_instance("result", result, SweepResult, "run")
    best = result.best(metric, mode).trial
    figure = new_figure("plot_parallel", max(7.0, 1.6 * len(result.trials) + 1.6), 3.4)
    draw_parallel(figure, result, metric, best, mode)
    return figure


def draw_parallel(part: Any, result: SweepResult, metric: str, best: int, mode: str) -> None:
    """One line per trial through its value on each axis, the best one on top."""
    axis = part.subplots()
    colors = colors_of(as_floats(result.scalar(metric)), mode)
    scaled = [scale(values, clip=False) for values in result.trials.values()]
    scaled.append(scale(as_floats(result.scalar(metric)), clip=True))
    titles = [title_of(name) for name in (*result.trials, metric)]
    heights = np.stack([height for height, _ in scaled], axis=1)  # [n, columns]
    positions = np.arange(len(titles))
    order = np.argsort(np.where(np.isnan(heights[:, -1]), -1, colors[1]), kind="stable")
    for index in order:
        diverged = np.isnan(heights[index, -1])
        axis.plot(
            positions,
            heights[index],
            color=_DIVERGED if diverged else colors[0][index],
            linestyle=":" if diverged else "-",
            linewidth=1,
            alpha=0.8,
        )
    axis.plot(positions, heights[best], color=BEST, linewidth=2.5, label=f"best: trial {best}")
    for position, (_, ticks) in zip(positions, scaled, strict=True):
        axis.axvline(position, color="0.3", linewidth=0.8)
        for height, label in ticks:
            axis.annotate(
                label,
                (position, height),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=7,
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            )
    axis.set_xticks(positions, titles)
    axis.set_yticks([])
    axis.set(xlim=(-0.1, len(titles) - 0.6), ylim=(-0.06, 1.06))
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    missing = int(np.isnan(heights[:, -1]).sum())
    if missing:
        axis.plot([], [], color=_DIVERGED, linestyle=":", label=f"diverged: {missing}")
    title = f"trials, colored by {titles[-1]}"
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2, "frameon": False}
    axis.legend(title=title, fontsize=8, title_fontsize=8, **place)
