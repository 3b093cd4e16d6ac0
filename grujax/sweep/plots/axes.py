"""Axes that fit the values of a hyperparameter or a metric, whatever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008), "Color Universal Design": people who see fewer hues can tell them apart.
BEST, TRIALS, MEDIAN = "#D55E00", "#0072B2", "#E69F00"
COLUMNS = 4  # small plots per row
TICKS = 6  # an axis with at most this many values has a tick at each
_REACH = 4.0  # outliers are farther from the quartiles than this many interquartile ranges
_DECADES = 1.5  # an axis that spans more is logarithmic
_LARGEST = 1e150  # what matplotlib does with greater numbers would be infinite


def new_figure(name: str, width: float, height: float) -> Figure:
    """A figure of this size in inches. Raises ImportError, with the name of the caller, without
    matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"`{name}` needs matplotlib: pip install 'grujax[sweep]'.") from error
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def small_axes(part: Any, names: list[str], sharey: bool) -> list[Axes]:
    columns = min(len(names), COLUMNS)
    rows = -(-len(names) // columns)
    axes = part.subplots(rows, columns, squeeze=False, sharey=sharey).ravel()
    for axis in axes[len(names) :]:
        axis.remove()
    for axis in axes[: len(names)]:
        axis.grid(alpha=0.3)
    return list(axes[: len(names)])


def colors_of(values: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """A color for each trial by its rank, and the rank in [0, 1]: 1 is best, and drawn last."""
    from matplotlib import colormaps

    rank, valid = np.zeros(len(values)), ~np.isnan(values)
    signed = values[valid] if mode == "min" else -values[valid]
    order = np.unique(signed, return_inverse=True)[1]
    rank[valid] = 1 - order / max(order.max(), 1)
    return colormaps["viridis_r"](0.05 + 0.85 * rank), rank


def scale(values: np.ndarray, clip: bool) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Heights in [0, 1], NaN for missing numbers, and ticks: (height, label).

    Args:
        values: of a hyperparameter or a metric.
        clip: whether outliers are drawn on the edge, as infinity is in any case.
    """
    numbers, labels = numbers_of(values)
    wide = labels is None and is_wide(numbers)
    lo, hi = limits_of(numbers, clip)
    forward = np.log10 if wide else np.asarray
    span = forward(hi) - forward(lo)

    def height(x: np.ndarray) -> np.ndarray:
        return (forward(x) - forward(lo)) / span if span > 0 else np.where(np.isnan(x), x, 0.5)

    shown, present = np.clip(numbers, lo, hi), numbers[~np.isnan(numbers)]
    ticks = np.unique(shown[~np.isnan(shown)])
    if len(ticks) > TICKS:
        ticks = np.geomspace(lo, hi, 5) if wide else np.linspace(lo, hi, 5)
    texts = [f"{x:.3g}" if labels is None else labels[int(x)] for x in ticks]
    if len(present) and present.min() < lo:
        texts[0] = f"≤ {texts[0]}"
    if len(present) and present.max() > hi:
        texts[-1] = f"≥ {texts[-1]}"
    return height(shown), list(zip(height(ticks).tolist(), texts, strict=True))


def numbers_of(values: np.ndarray) -> tuple[np.ndarray, list[str] | None]:
    """Values as numbers; those without an order as their position among the sorted labels."""
    if values.dtype.kind in "Ubc":
        labels, positions = np.unique(values, return_inverse=True)
        return positions.astype(float), [str(label) for label in labels]
    return as_floats(values), None


def as_floats(values: np.ndarray) -> np.ndarray:
    """Real numbers or bools as floats whose differences are finite, except for infinity itself."""
    numbers = values.astype(float)
    return np.where(np.isfinite(numbers), np.clip(numbers, -_LARGEST, _LARGEST), numbers)


def is_wide(values: np.ndarray) -> bool:
    """Whether an axis is logarithmic: nothing is negative, and most values span a factor of 30."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() < 0:
        return False
    lo = np.quantile(finite, 0.05, method="lower")
    hi = np.quantile(finite, 0.95, method="higher")
    return bool(lo > 0 and np.log10(hi) - np.log10(lo) > _DECADES)


def limits_of(values: np.ndarray, clip: bool = True) -> tuple[float, float]:
    """The range to show: all finite values, except outliers if `clip`, as losses that exploded."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    wide = is_wide(finite)
    shown = finite[finite > 0] if wide else finite
    if not clip:
        return shown.min(), shown.max()
    lower, upper = np.quantile(np.log10(shown) if wide else shown, [0.25, 0.75])
    reach = _REACH * (upper - lower)
    lo, hi = lower - reach, upper + reach
    with np.errstate(over="ignore"):
        lo, hi = (10**lo, 10**hi) if wide else (lo, hi)
    return max(shown.min(), lo), min(shown.max(), hi)


def show_range(axis: Axes, values: np.ndarray) -> None:
    lo, hi = limits_of(values)
    if is_wide(values):
        axis.set_yscale("log")
        axis.set_ylim(lo / 1.5, hi * 1.5)
    elif hi > lo:
        margin = 0.08 * (hi - lo)
        axis.set_ylim(lo - margin, hi + margin)


def title_of(name: str) -> str:
    return name.replace("_", " ")
