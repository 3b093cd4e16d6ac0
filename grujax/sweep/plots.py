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
_LARGEST = 1e150  # what matplotlib does with greater numbers would be infinite


def plot_sweep(result: SweepResult, metric: str, mode: str) -> Figure:
    """See `SweepResult.plot`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("`plot` needs matplotlib: pip install 'grujax[sweep]'.") from error
    best = result.best(metric, mode).trial
    names = list(result.trials)
    real = {name: array for name, array in result.metrics.items() if array.dtype.kind != "c"}
    curves = [name for name, array in real.items() if array.ndim == 2]
    widths = [1, *[min(len(part), _COLUMNS) for part in (names, curves) if part]]
    rows = [-(-len(part) // _COLUMNS) for part in (names, curves)]
    figure = Figure(figsize=(max(7.0, 2.9 * max(widths)), 3.2 + 2.6 * sum(rows)), dpi=120)
    figure.set_layout_engine("constrained")
    first, *parts = figure.subfigures(
        1 + sum(row > 0 for row in rows),
        height_ratios=[3.2, *[2.6 * row for row in rows if row]],
        squeeze=False,
    )[:, 0]
    _draw_parallel(first, result, metric, best, _colors(_floats(result.scalar(metric)), mode))
    if names:
        _draw_metric(parts[0], result, metric, best)
    if curves:
        _draw_curves(parts[-1], result, curves, best)
    return figure


def _draw_parallel(part: Any, result: SweepResult, metric: str, best: int, colors: Any) -> None:
    """One line per trial through its value on each axis, the best one on top."""
    axis = part.subplots()
    scaled = [_scale(values, clip=False) for values in result.trials.values()]
    scaled.append(_scale(_floats(result.scalar(metric)), clip=True))
    titles = [_title(name) for name in (*result.trials, metric)]
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
    axis.set_xticks(positions, titles)
    axis.set_yticks([])
    axis.set(xlim=(-0.1, len(titles) - 0.6), ylim=(-0.06, 1.06))
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    missing = int(np.isnan(heights[:, -1]).sum())
    if missing:
        axis.plot([], [], color=_DIVERGED, linestyle=":", label=f"diverged: {missing}")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False)


def _draw_metric(part: Any, result: SweepResult, metric: str, best: int) -> None:
    """The metric against each hyperparameter; diverged trials as ticks at the upper edge."""
    values = _floats(result.scalar(metric))
    shown = np.clip(values, *_limits(values))  # outliers and infinity are drawn on the edge
    axes = _small_axes(part, list(result.trials), sharey=True)
    for axis, (name, array) in zip(axes, result.trials.items(), strict=True):
        numbers, labels = _numbers(array)
        numbers = np.clip(numbers, *_limits(numbers, clip=False))
        axis.plot(numbers, shown, "o", color="tab:blue", alpha=0.5, markersize=4)
        axis.plot(numbers[best], shown[best], "*", color=_BEST, markersize=13, clip_on=False)
        gone = numbers[np.isnan(values)]
        axis.plot(gone, np.ones(len(gone)), "x", color="0.4", transform=axis.get_xaxis_transform())
        if labels is not None:
            axis.set_xticks(range(len(labels)), labels)
            axis.set_xlim(-0.5, len(labels) - 0.5)
        elif _is_wide(numbers):
            axis.set_xscale("log")
        elif len(ticks := np.unique(numbers[~np.isnan(numbers)])) <= _TICKS:
            axis.set_xticks(ticks, [f"{x:.3g}" for x in ticks])
        axis.set_xlabel(_title(name))
    _show_range(axes[0], values)
    axes[0].set_ylabel(_title(metric))


def _draw_curves(part: Any, result: SweepResult, curves: list[str], best: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = _small_axes(part, curves, sharey=False)
    for axis, name in zip(axes, curves, strict=True):
        values = _floats(result.metrics[name])
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

    rank, valid = np.zeros(len(values)), ~np.isnan(values)
    signed = values[valid] if mode == "min" else -values[valid]
    order = np.unique(signed, return_inverse=True)[1]
    rank[valid] = 1 - order / max(order.max(), 1)
    return colormaps["viridis_r"](0.05 + 0.85 * rank), rank


def _scale(values: np.ndarray, clip: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Heights in [0, 1], NaN for missing numbers, and ticks: (height, label).

    Args:
        values: of a hyperparameter or a metric.
        clip: whether outliers are drawn on the edge, as infinity is in any case.
    """
    numbers, labels = _numbers(values)
    wide = labels is None and _is_wide(numbers)
    lo, hi = _limits(numbers, clip)
    forward = np.log10 if wide else np.asarray
    span = forward(hi) - forward(lo)

    def height(x: np.ndarray) -> np.ndarray:
        return (forward(x) - forward(lo)) / span if span > 0 else np.where(np.isnan(x), x, 0.5)

    shown, present = np.clip(numbers, lo, hi), numbers[~np.isnan(numbers)]
    ticks = np.unique(shown[~np.isnan(shown)])
    if len(ticks) > _TICKS:
        ticks = np.geomspace(lo, hi, 5) if wide else np.linspace(lo, hi, 5)
    texts = [f"{x:.3g}" if labels is None else labels[int(x)] for x in ticks]
    if len(present) and present.min() < lo:
        texts[0] = f"≤ {texts[0]}"
    if len(present) and present.max() > hi:
        texts[-1] = f"≥ {texts[-1]}"
    return height(shown), list(zip(height(ticks).tolist(), texts, strict=True))


def _numbers(values: np.ndarray) -> tuple[np.ndarray, list[str] | None]:
    """Values as numbers; those without an order as their position among the sorted labels."""
    if values.dtype.kind in "Ubc":
        labels, positions = np.unique(values, return_inverse=True)
        return positions.astype(float), [str(label) for label in labels]
    return _floats(values), None


def _floats(values: np.ndarray) -> np.ndarray:
    """Real numbers or bools as floats whose differences are finite, except for infinity itself."""
    numbers = values.astype(float)
    return np.where(np.isfinite(numbers), np.clip(numbers, -_LARGEST, _LARGEST), numbers)


def _is_wide(values: np.ndarray) -> bool:
    """Whether an axis is logarithmic: nothing is negative, and most values span a factor of 30."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() < 0:
        return False
    lo = np.quantile(finite, 0.05, method="lower")
    hi = np.quantile(finite, 0.95, method="higher")
    return bool(lo > 0 and np.log10(hi) - np.log10(lo) > _DECADES)


def _limits(values: np.ndarray, clip: bool = True) -> tuple[float, float]:
    """The range to show: all finite values, except outliers if `clip`, as losses that exploded."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    wide = _is_wide(finite)
    shown = finite[finite > 0] if wide else finite
    if not clip:
        return shown.min(), shown.max()
    lower, upper = np.quantile(np.log10(shown) if wide else shown, [0.25, 0.75])
    reach = _REACH * (upper - lower)
    lo, hi = lower - reach, upper + reach
    with np.errstate(over="ignore"):
        lo, hi = (10**lo, 10**hi) if wide else (lo, hi)
    return max(shown.min(), lo), min(shown.max(), hi)


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
