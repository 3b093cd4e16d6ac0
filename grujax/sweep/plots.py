"""The figure of a sweep: parallel coordinates, single hyperparameters, learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grujax.sweep.result import SweepResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BEST = "tab:red"
_DIVERGED = "0.75"
_COLUMNS = 4  # small plots per row
_TICKS = 6  # an axis with at most this many values has a tick at each
_REACH = 4.0  # outliers are farther from the quartiles than this many interquartile ranges
_DECADES = 1.5  # an axis that spans more is logarithmic


def plot_sweep(result: SweepResult, metric: str, mode: str) -> Figure:
    """See `SweepResult.plot`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("`plot` needs matplotlib: pip install 'grujax[sweep]'.") from error
    best = result.best(metric, mode).trial
    names = list(result.trials)
    curves = [name for name, array in result.metrics.items() if array.ndim == 2]
    widths = [1, *[min(len(part), _COLUMNS) for part in (names, curves) if part]]
    rows = [-(-len(part) // _COLUMNS) for part in (names, curves)]
    figure = Figure(figsize=(max(7.0, 2.9 * max(widths)), 3.2 + 2.6 * sum(rows)), dpi=120)
    figure.set_layout_engine("constrained")
    parts = figure.subfigures(
        1 + sum(row > 0 for row in rows),
        height_ratios=[3.2, *[2.6 * row for row in rows if row]],
        squeeze=False,
    )[:, 0]
    colors = _colors(result.scalar(metric), mode)
    _draw_parallel(parts[0], result, metric, best, colors)
    _draw_metric(parts[1], result, metric, best)
    if curves:
        _draw_curves(parts[2], result, curves, best)
    return figure


def _draw_parallel(part: Any, result: SweepResult, metric: str, best: int, colors: Any) -> None:
    """One line per trial through its value on each axis, the best one on top."""
    axis = part.subplots()
    columns = result.trials | {metric: result.scalar(metric)}
    scaled = [_scale(values, clip=name == metric) for name, values in columns.items()]
    heights = np.stack([height for height, _ in scaled], axis=1)  # [n, columns]
    positions = np.arange(len(columns))
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
    axis.plot(positions, heights[best], color=_BEST, linewidth=2.5, label=f"best: trial {best}")
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
    axis.set_xticks(positions, [_title(name) for name in columns])
    axis.set_yticks([])
    axis.set(xlim=(-0.1, len(columns) - 0.6), ylim=(-0.06, 1.06))
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    missing = int(np.isnan(heights[:, -1]).sum())
    if missing:
        axis.plot([], [], color=_DIVERGED, linestyle=":", label=f"diverged: {missing}")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False)


def _draw_metric(part: Any, result: SweepResult, metric: str, best: int) -> None:
    """The metric against each hyperparameter; diverged trials as ticks at the upper edge."""
    values = result.scalar(metric)
    shown = np.clip(values, *_limits(values))  # outliers are drawn on the edge
    axes = _small_axes(part, list(result.trials), sharey=True)
    for axis, (name, array) in zip(axes, result.trials.items(), strict=True):
        numbers, labels = _numbers(array)
        axis.plot(numbers, shown, "o", color="tab:blue", alpha=0.5, markersize=4)
        axis.plot(numbers[best], shown[best], "*", color=_BEST, markersize=13, clip_on=False)
        gone = numbers[np.isnan(values)]
        axis.plot(gone, np.ones(len(gone)), "x", color="0.4", transform=axis.get_xaxis_transform())
        if labels is not None:
            axis.set_xticks(range(len(labels)), labels)
            axis.set_xlim(-0.5, len(labels) - 0.5)
        elif _is_wide(numbers):
            axis.set_xscale("log")
        elif len(np.unique(numbers)) <= _TICKS:
            axis.set_xticks(np.unique(numbers), [f"{x:.3g}" for x in np.unique(numbers)])
        axis.set_xlabel(_title(name))
    _show_range(axes[0], values)
    axes[0].set_ylabel(_title(metric))


def _draw_curves(part: Any, result: SweepResult, curves: list[str], best: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = _small_axes(part, curves, sharey=False)
    for axis, name in zip(axes, curves, strict=True):
        values = result.metrics[name]
        steps = np.arange(1, values.shape[1] + 1)
        axis.plot(steps, values.T, color="tab:blue", alpha=0.25, linewidth=0.8)
        axis.plot(steps, values[best], color=_BEST, linewidth=2)
        _show_range(axis, values)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(xlabel="position in the curve", ylabel=_title(name))
        axis.grid(alpha=0.3)


def _small_axes(part: Any, names: list[str], sharey: bool) -> list[Axes]:
    columns = min(len(names), _COLUMNS)
    rows = -(-len(names) // columns)
    axes = part.subplots(rows, columns, squeeze=False, sharey=sharey).ravel()
    for axis in axes[len(names) :]:
        axis.remove()
    for axis in axes[: len(names)]:
        axis.grid(alpha=0.3)
    return list(axes[: len(names)])


def _colors(values: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """A color for each trial by its rank, and the rank in [0, 1]: 1 is best, and drawn last."""
    from matplotlib import colormaps

    order = np.argsort(np.argsort(np.where(np.isnan(values), np.inf, values)))
    rank = order / max(len(values) - 1, 1)
    rank = 1 - rank if mode == "min" else rank
    return colormaps["viridis_r"](0.05 + 0.85 * rank), rank


def _scale(values: np.ndarray, clip: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Heights in [0, 1], NaN for missing numbers, and ticks: (height, label)."""
    numbers, labels = _numbers(values)
    wide = labels is None and _is_wide(numbers)
    lo, hi = _limits(numbers) if clip else (np.nanmin(numbers), np.nanmax(numbers))
    forward = np.log10 if wide else np.asarray
    span = forward(hi) - forward(lo)

    def height(x: np.ndarray) -> np.ndarray:
        return (forward(x) - forward(lo)) / span if span > 0 else np.full(np.shape(x), 0.5)

    shown = np.clip(np.where(np.isfinite(numbers), numbers, lo), lo, hi)
    ticks = np.unique(shown)
    if len(ticks) > _TICKS:
        ticks = np.geomspace(lo, hi, 5) if wide else np.linspace(lo, hi, 5)
    texts = [f"{x:.3g}" if labels is None else labels[int(x)] for x in ticks]
    if clip and np.nanmin(numbers) < lo:
        texts[0] = f"≤ {texts[0]}"
    if clip and np.nanmax(numbers) > hi:
        texts[-1] = f"≥ {texts[-1]}"
    heights = np.where(np.isnan(numbers), np.nan, height(shown))
    return heights, list(zip(height(ticks).tolist(), texts, strict=True))


def _numbers(values: np.ndarray) -> tuple[np.ndarray, list[str] | None]:
    """Values as numbers; strings and bools as their position among the sorted labels."""
    if values.dtype.kind in "Ub":
        labels, positions = np.unique(values, return_inverse=True)
        return positions.astype(float), [str(label) for label in labels]
    return values.astype(float), None


def _is_wide(values: np.ndarray) -> bool:
    """Whether an axis is logarithmic: nothing is negative, and most values span a factor of 30."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() < 0:
        return False
    lo = np.quantile(finite, 0.05, method="lower")
    return lo > 0 and np.quantile(finite, 0.95, method="higher") / lo > 10**_DECADES


def _limits(values: np.ndarray) -> tuple[float, float]:
    """The range to show: all values except outliers, such as losses that exploded."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    wide = _is_wide(finite)
    numbers = np.log10(finite[finite > 0]) if wide else finite
    lower, upper = np.quantile(numbers, [0.25, 0.75])
    reach = _REACH * (upper - lower)
    lo, hi = max(numbers.min(), lower - reach), min(numbers.max(), upper + reach)
    return (10**lo, 10**hi) if wide else (lo, hi)


def _show_range(axis: Axes, values: np.ndarray) -> None:
    lo, hi = _limits(values)
    if _is_wide(values):
        axis.set_yscale("log")
        axis.set_ylim(lo / 1.5, hi * 1.5)
    elif hi > lo:
        margin = 0.08 * (hi - lo)
        axis.set_ylim(lo - margin, hi + margin)


def _title(name: str) -> str:
    return name.replace("_", " ")
