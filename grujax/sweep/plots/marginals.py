"""Marginal curves: the metric against each hyperparameter alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grujax.checks import check_instance
from grujax.sweep.plots.axes import (
    BEST,
    COLUMNS,
    MEDIAN,
    TICKS,
    TRIALS,
    as_floats,
    is_wide,
    limits_of,
    new_figure,
    numbers_of,
    show_range,
    small_axes,
    title_of,
)
from grujax.sweep.result import SweepResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PER_BIN = 6  # trials at least: with fewer, no interval for their median holds 95%
_BINS = 8  # at most


def plot_marginals(result: SweepResult, metric: str, mode: str = "min") -> Figure:
    """Plots the metric against each hyperparameter, with the median and its 95% interval.

    A hyperparameter with more than six different values is cut into up to eight bins with equally
    many trials. The interval is that between two order statistics of the bin, which holds the
    median of its distribution with a probability of at least 95%, whatever that is; of fewer than
    six trials it is their range. The other hyperparameters vary within a bin, as they do in the
    sweep: after a search, whose trials gather around the best, the curves show less than after
    `sample`. Trials whose metric is NaN are crosses at the upper edge, and in no bin.

    Args:
        result: the trials, with metrics `[n]`.
        metric: the name of a scalar metric.
        mode: whether the least ("min") or greatest ("max") value is best; the best trial is a star.

    Returns:
        A matplotlib figure, for `savefig`.

    Raises:
        ValueError: as `SweepResult.best`, and for a result without hyperparameters.
        ImportError: without matplotlib.

    Example:
        >>> from grujax.sweep import SweepResult
        >>> result = SweepResult(
        ...     {"rate": np.array([0.1, 0.2])}, {"loss": np.array([3.0, 2.0])}, np.zeros(2, bool)
        ... )
        >>> len(plot_marginals(result, "loss").axes)
        1
    """
    check_instance("result", result, SweepResult, "run")
    best = result.best(metric, mode).trial
    count = len(result.trials)
    if not count:
        raise ValueError("`result` has no hyperparameters to plot the metric against.")
    columns, rows = min(count, COLUMNS), -(-count // COLUMNS)
    figure = new_figure("plot_marginals", max(4.0, 2.9 * columns), 2.9 * rows + 0.3)
    axes = draw_metric(figure, result, metric, best)
    values = as_floats(result.scalar(metric))
    for axis, array in zip(axes, result.trials.values(), strict=True):
        _draw_medians(axis, array, values)
    lines = axes[0].get_legend_handles_labels()
    place: dict[str, Any] = {
        "loc": "outside upper right",
        "ncols": 4,
        "fontsize": 8,
        "title_fontsize": 8,
    }
    figure.legend(*lines, title="trials of the sweep", **place)
    return figure


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """The median of values `[n]`, and the ends of its interval.

    With B ~ Binomial(n, ½), the interval from the rth least to the rth greatest value misses the
    median of the distribution with probability 2·P(B < r): r is the greatest for which that is at
    most 1/20, and at least 1.
    """
    ordered, total = np.sort(values), len(values)
    rank, below, ways = 0, 0, 1  # P(B <= rank) = below / 2^total, and `ways` is C(total, rank)
    while 40 * (below + ways) <= 2**total:
        below += ways
        ways = ways * (total - rank) // (rank + 1)
        rank += 1
    rank = max(rank, 1)
    return float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[total - rank])


def draw_metric(part: Any, result: SweepResult, metric: str, best: int) -> list[Axes]:
    """The metric against each hyperparameter; diverged trials as ticks at the upper edge."""
    values = as_floats(result.scalar(metric))
    shown = np.clip(values, *limits_of(values))  # outliers and infinity are drawn on the edge
    axes = small_axes(part, list(result.trials), sharey=True)
    for axis, (name, array) in zip(axes, result.trials.items(), strict=True):
        numbers, labels = numbers_of(array)
        numbers = np.clip(numbers, *limits_of(numbers, clip=False))
        axis.plot(numbers, shown, "o", color=TRIALS, alpha=0.5, markersize=4, label="trial")
        star: dict[str, Any] = {
            "color": BEST,
            "markersize": 13,
            "clip_on": False,
            "label": "best trial",
        }
        axis.plot(numbers[best], shown[best], "*", **star)
        gone = numbers[np.isnan(values)]
        cross: dict[str, Any] = {
            "color": "0.4",
            "transform": axis.get_xaxis_transform(),
            "label": "NaN",
        }
        if len(gone):
            axis.plot(gone, np.ones(len(gone)), "x", **cross)
        if labels is not None:
            axis.set_xticks(range(len(labels)), labels)
            axis.set_xlim(-0.5, len(labels) - 0.5)
        elif is_wide(numbers):
            axis.set_xscale("log")
        elif len(ticks := np.unique(numbers[~np.isnan(numbers)])) <= TICKS:
            axis.set_xticks(ticks, [f"{x:.3g}" for x in ticks])
        axis.set_xlabel(title_of(name))
    show_range(axes[0], values)
    axes[0].set_ylabel(title_of(metric))
    return axes


def _draw_medians(axis: Axes, array: np.ndarray, values: np.ndarray) -> None:
    """The median of each bin, with a band of the intervals, or bars where nothing lies between."""
    numbers, labels = numbers_of(array)
    is_shown = ~(np.isnan(values) | np.isnan(numbers))
    numbers, values = numbers[is_shown], values[is_shown]
    low, high = limits_of(values)
    bins = _bins(numbers)
    centers = np.array([np.median(numbers[each]) for each in bins])
    found = np.array([median_interval(values[each]) for each in bins]).clip(low, high)
    median, lower, upper = found.T
    name = "median, 95% interval"
    if labels is None and len(bins) > 1:
        axis.plot(centers, median, ".-", color=MEDIAN, label=name)
        axis.fill_between(centers, lower, upper, color=MEDIAN, alpha=0.25, linewidth=0)
    else:
        reach = [median - lower, upper - median]
        axis.errorbar(centers, median, reach, fmt="o", color=MEDIAN, capsize=4, label=name)


def _bins(numbers: np.ndarray) -> list[np.ndarray]:
    """The positions of the trials of each bin: of each value, or of equally many neighbors."""
    different = np.unique(numbers)
    if len(different) <= TICKS:
        return [np.flatnonzero(numbers == value) for value in different]
    count = int(np.clip(len(numbers) // _PER_BIN, 1, _BINS))
    return np.array_split(np.argsort(numbers, kind="stable"), count)
