"""The figure of a sweep: parallel coordinates, each hyperparameter alone, learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grujax.sweep.result import SweepResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BEST = "tab:red"
_DIVERGED = "0.75"
_COLUMNS = 4  # of small plots in a row
_DECADES = 1.5  # from which on an axis is logarithmic


def plot_sweep(result: SweepResult, metric: str, mode: str) -> Figure:
    """See `SweepResult.plot`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("`plot` needs matplotlib: pip install 'grujax[sweep]'.") from error
    best = result.best(metric, mode).index
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
    colours = _colours(result.scalar(metric), mode)
    _draw_parallel(parts[0], result, metric, best, colours)
    _draw_metric(parts[1], result, metric, best)
    if curves:
        _draw_curves(parts[2], result, curves, best)
    return figure


def _draw_parallel(part: Any, result: SweepResult, metric: str, best: int, colours: Any) -> None:
    """A line a trial through its value on each axis, the best one on top."""
    axis = part.subplots()
    columns = result.trials | {metric: result.scalar(metric)}
    scaled = [_scale(values) for values in columns.values()]
    heights = np.stack([height for height, _ in scaled], axis=1)  # [n, columns]
    positions = np.arange(len(columns))
    order = np.argsort(np.where(np.isnan(heights[:, -1]), -1, colours[1]), kind="stable")
    for index in order:
        diverged = np.isnan(heights[index, -1])
        axis.plot(
            positions,
            heights[index],
            color=_DIVERGED if diverged else colours[0][index],
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
    axes = _small_axes(part, list(result.trials), sharey=True)
    for axis, (name, array) in zip(axes, result.trials.items(), strict=True):
        numbers, labels = _numbers(array)
        axis.plot(numbers, values, "o", color="tab:blue", alpha=0.5, markersize=4)
        axis.plot(numbers[best], values[best], "*", color=_BEST, markersize=13)
        gone = numbers[np.isnan(values)]
        axis.plot(gone, np.ones(len(gone)), "x", color="0.4", transform=axis.get_xaxis_transform())
        if labels is not None:
            axis.set_xticks(range(len(labels)), labels)
            axis.set_xlim(-0.5, len(labels) - 0.5)
        elif _is_wide(numbers):
            axis.set_xscale("log")
        axis.set_xlabel(_title(name))
        if _is_wide(values):
            axis.set_yscale("log")
    axes[0].set_ylabel(_title(metric))


def _draw_curves(part: Any, result: SweepResult, curves: list[str], best: int) -> None:
    axes = _small_axes(part, curves, sharey=False)
    for axis, name in zip(axes, curves, strict=True):
        values = result.metrics[name]
        steps = np.arange(1, values.shape[1] + 1)
        axis.plot(steps, values.T, color="tab:blue", alpha=0.25, linewidth=0.8)
        axis.plot(steps, values[best], color=_BEST, linewidth=2)
        if _is_wide(values):
            axis.set_yscale("log")
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


def _colours(values: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """A colour for each trial by its rank, and the rank itself: 1 is best, and drawn last."""
    from matplotlib import colormaps

    order = np.argsort(np.argsort(np.where(np.isnan(values), np.inf, values)))
    rank = order / max(len(values) - 1, 1)
    rank = 1 - rank if mode == "min" else rank
    return colormaps["viridis_r"](0.05 + 0.85 * rank), rank


def _scale(values: np.ndarray) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Heights in [0, 1], NaN where there is no number, and ticks: (height, label)."""
    numbers, labels = _numbers(values)
    wide = labels is None and _is_wide(numbers)
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return np.full(len(numbers), np.nan), []
    lo, hi = finite.min(), finite.max()
    transform = np.log10 if wide else np.asarray
    span = transform(hi) - transform(lo) if hi > lo else 1.0

    def height(x: Any) -> Any:
        return (transform(x) - transform(lo)) / span if hi > lo else 0.5 + 0.0 * np.asarray(x)

    distinct = np.unique(finite)
    if len(distinct) > 6:
        distinct = np.linspace(transform(lo), transform(hi), 5)
        distinct = 10**distinct if wide else distinct
    texts = [f"{x:.3g}" if labels is None else labels[int(x)] for x in distinct]
    heights = np.where(
        np.isfinite(numbers), height(np.where(np.isfinite(numbers), numbers, lo)), np.nan
    )
    return heights, [(float(height(x)), text) for x, text in zip(distinct, texts, strict=True)]


def _numbers(values: np.ndarray) -> tuple[np.ndarray, list[str] | None]:
    """Values as numbers; strings and bools by their position among the labels."""
    if values.dtype.kind in "Ub":
        labels, positions = np.unique(values, return_inverse=True)
        return positions.astype(float), [str(label) for label in labels]
    return values.astype(float), None


def _is_wide(values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    return len(finite) > 0 and finite.min() > 0 and finite.max() / finite.min() > 10**_DECADES


def _title(name: str) -> str:
    return name.replace("_", " ")
