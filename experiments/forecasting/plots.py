"""Plots of forecasts: fans, errors by horizon, bars, calibration, and forecasts over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.common.outputs import write_figure
from experiments.forecasting.quantiles import LEVELS, median

COLORS = ("0.55", "tab:brown", "tab:olive", "tab:green", "tab:purple", "tab:cyan")  # of the rivals


class Fan(NamedTuple):
    """A panel: the known past, the forecast for the next H steps, and the truth."""

    title: str
    past: np.ndarray  # [P], the last known value at the end
    quantiles: np.ndarray  # [H, Q]
    truth: np.ndarray  # [H]; NaN where unknown


def plot_fans(path: Path, fans: Sequence[Fan], unit: str) -> None:
    """Draws forecasts as fans: the median, the intervals around it, and the truth."""
    figure, axes = _new_axes(len(fans), columns=2, size=(5.6, 2.7))
    for axis, fan in zip(axes, fans, strict=True):
        steps = np.arange(1, len(fan.truth) + 1)
        axis.plot(np.arange(1 - len(fan.past), 1), fan.past, ".-", color="0.4", label="known")
        _draw_quantiles(axis, steps, fan.quantiles)
        axis.plot(steps, fan.truth, "k.", label="truth")
        axis.set_title(fan.title, fontsize=10)
        axis.set(xlabel="steps ahead", ylabel=unit)
        axis.grid(alpha=0.3)
    handles = axes[-1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=8)
    _save(figure, path)


def plot_errors(
    path: Path, rows: Mapping[str, np.ndarray], names: Sequence[str], xlabel: str, ylabel: str
) -> None:
    """Draws the error of each forecast against the horizon; the last row is the network's.

    Args:
      path: the PNG to write.
      rows: the error [K] of each forecast.
      names: the names of the K horizons.
      xlabel, ylabel: the labels of the axes.
    """
    figure, [axis] = _new_axes(1, columns=1, size=(6.5, 3.8))
    for i, (name, errors) in enumerate(rows.items()):
        last = i == len(rows) - 1
        color = "tab:red" if last else COLORS[i % len(COLORS)]
        axis.plot(range(len(names)), errors, "o--" if last else "o-", ms=4, label=name, c=color)
    axis.set_xticks(range(len(names)), names)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    _save(figure, path)


def plot_bars(
    path: Path, rows: Mapping[str, np.ndarray], names: Sequence[str], ylabel: str
) -> None:
    """Draws the score [K] of each forecast as bars, one panel for each of the K targets."""
    figure, axes = _new_axes(len(names), columns=len(names), size=(3.6, 3.2))
    for k, (axis, name) in enumerate(zip(axes, names, strict=True)):
        values = [row[k] for row in rows.values()]
        colors = ["0.65"] * (len(rows) - 1) + ["tab:red"]
        bars = axis.barh(range(len(rows)), values, color=colors)
        axis.bar_label(bars, [f"{value:.3f}" for value in values], padding=2, fontsize=8)
        axis.set_yticks(range(len(rows)), list(rows) if k == 0 else [""] * len(rows), fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.25)
        axis.axvline(0, color="k", lw=0.8)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel(ylabel)
    _save(figure, path)


def plot_calibration(path: Path, quantiles: np.ndarray, targets: np.ndarray, names: Sequence[str]):
    """Draws how often the truth was below each quantile, against the quantile's level.

    Args:
      path: the PNG to write.
      quantiles: [N, K, Q].
      targets: [N, K]; a NaN is left out.
      names: the names of the K targets.
    """
    figure, [axis] = _new_axes(1, columns=1, size=(4.6, 4.2))
    below = np.where(np.isfinite(targets)[..., None], targets[..., None] <= quantiles, np.nan)
    for name, shares in zip(names, np.nanmean(below, axis=0), strict=True):
        axis.plot(LEVELS, shares, "o-", ms=4, label=name)
    axis.plot([0, 1], [0, 1], "k:", lw=1, label="perfect calibration")
    axis.set(xlabel="level of the quantile", ylabel="how often the truth was below")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    _save(figure, path)


def plot_tracks(
    path: Path,
    panels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    ylabel: str,
) -> None:
    """Draws forecasts of the next step, and the truth, over time.

    Args:
      path: the PNG to write.
      panels: the times [N], quantiles [N, Q] and truth [N] of each panel, by title.
      ylabel: the label of the y axes.
    """
    figure, axes = _new_axes(len(panels), columns=1, size=(9, 2.3))
    for axis, (title, (times, quantiles, truth)) in zip(axes, panels.items(), strict=True):
        _draw_quantiles(axis, times, quantiles)
        axis.plot(times, truth, "k.", ms=3, label="truth")
        axis.set_title(title, fontsize=10)
        axis.set_ylabel(ylabel)
        axis.grid(alpha=0.3)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, fontsize=8)
    _save(figure, path)


def _draw_quantiles(axis, times: np.ndarray, quantiles: np.ndarray) -> None:
    axis.plot(times, median(quantiles), color="tab:red", label="median")
    for low, alpha in ((0, 0.2), (1, 0.35)):
        high = len(LEVELS) - 1 - low
        label = f"{LEVELS[high] - LEVELS[low]:.0%} interval"
        bounds = quantiles[:, low], quantiles[:, high]
        axis.fill_between(times, *bounds, color="tab:red", alpha=alpha, lw=0, label=label)


def _new_axes(number: int, columns: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """A figure of `number` panels in `columns` columns; `size` in inches is that of one panel."""
    rows = -(-number // columns)
    figure = Figure((size[0] * columns, size[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[number:]:
        axis.axis("off")
    return figure, list(axes.flat[:number])


def _save(figure: Any, path: Path) -> None:
    write_figure(path, figure, dpi=120)
