"""Plots of forecasts: fans, errors by horizon, bars, calibration, and forecasts over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from experiments.common.report.plots import (
    BLACK,
    CELLS,
    GRAY,
    add_legend,
    error_bars,
    line_styles,
    save_figure,
)
from experiments.forecasting.quantiles import LEVELS, median

NETWORK = CELLS["gru"][0]  # its color


class Fan(NamedTuple):
    """A panel: the known past, the forecast for the next H steps, and the truth."""

    title: str
    past: np.ndarray  # [P], the last known value at the end
    quantiles: np.ndarray  # [H, Q]
    truth: np.ndarray  # [H]; NaN where unknown


def plot_fans(path: Path, fans: Sequence[Fan], unit: str, network: str) -> None:
    """Draws forecasts of a network as fans: median, the intervals around it, and the truth."""
    figure, axes = _new_axes(len(fans), columns=2, size=(5.6, 2.7))
    for axis, fan in zip(axes, fans, strict=True):
        steps = np.arange(1, len(fan.truth) + 1)
        axis.plot(np.arange(1 - len(fan.past), 1), fan.past, ".-", color=GRAY, label="known")
        _draw_quantiles(axis, steps, fan.quantiles)
        axis.plot(steps, fan.truth, "D", color=BLACK, ms=4, label="truth")
        axis.set_title(fan.title, fontsize=10)
        axis.set(xlabel="steps ahead", ylabel=unit)
        axis.grid(alpha=0.3)
    add_legend(figure, axes[-1], f"{network}'s forecast and truth", columns=5)
    save_figure(figure, path)


def plot_errors(
    path: Path, rows: Mapping[str, np.ndarray], names: Sequence[str], xlabel: str, ylabel: str
) -> None:
    """Draws the error of each forecast against the horizon, with its 95% interval.

    Args:
      path: the PNG to write.
      rows: of each forecast the error and the ends of its interval, [3, K].
      names: the names of the K horizons.
      xlabel, ylabel: the labels of the axes.
    """
    figure, [axis] = _new_axes(1, columns=1, size=(8, 3.8))
    styles = line_styles(rows)
    for number, (name, (errors, *interval)) in enumerate(rows.items()):
        apart = np.arange(len(names)) + 0.08 * (number - len(rows) / 2)  # so that all bars show
        bars = error_bars(errors, np.transpose(interval))
        style = styles[name] | {"elinewidth": 0.8, "capsize": 2}
        axis.errorbar(apart, errors, bars, label=name, **style)
    axis.set_xticks(range(len(names)), names)
    axis.set(xlabel=xlabel, ylabel=f"{ylabel},\n95% interval")
    axis.grid(alpha=0.3)
    add_legend(figure, axis, "forecast")
    save_figure(figure, path)


def plot_bars(
    path: Path, rows: Mapping[str, np.ndarray], names: Sequence[str], xlabel: str
) -> None:
    """Draws the score of each forecast as bars, one panel for each of the K targets.

    Args:
      path: the PNG to write.
      rows: of each forecast the score and the ends of its 95% interval, [3, K].
      names: the names of the K targets.
      xlabel: the name of the score.
    """
    figure, axes = _new_axes(len(names), columns=len(names), size=(3.8, 0.42 * len(rows) + 1.3))
    styles = line_styles(rows)
    for k, (axis, name) in enumerate(zip(axes, names, strict=True)):
        values, low, high = np.array([row[:, k] for row in rows.values()]).T
        colors = [styles[row]["color"] for row in rows]
        bars = error_bars(values, np.transpose([low, high]))
        axis.barh(range(len(rows)), values, color=colors, alpha=0.8)
        style = {"fmt": "none", "ecolor": BLACK, "capsize": 2, "elinewidth": 1}
        axis.errorbar(values, range(len(rows)), xerr=bars, **style)
        for y, value in enumerate(values):
            text = {"fontsize": 8, "va": "center", "ha": "right"}
            axis.text(0.98, y, f"{value:.3f}", transform=axis.get_yaxis_transform(), **text)
        axis.set_yticks(range(len(rows)), list(rows) if k == 0 else [""] * len(rows), fontsize=8)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        left, right = min(low.min(), 0), max(high.max(), 0)
        axis.set_xlim(left - 0.05 * (right - left), right + 0.35 * (right - left))
        axis.axvline(0, color=BLACK, lw=0.8)
        axis.set_title(name, fontsize=10)
    figure.supxlabel(f"{xlabel}, 95% interval", fontsize=10)
    axes[0].set_ylabel("forecast")
    save_figure(figure, path)


def plot_calibration(path: Path, shares: np.ndarray, names: Sequence[str]) -> None:
    """Draws how often the truth was below each quantile, against the quantile's level.

    Args:
      path: the PNG to write.
      shares: [3, K, Q], the shares and the ends of their 95% intervals.
      names: the names of the K targets.
    """
    figure, [axis] = _new_axes(1, columns=1, size=(6.2, 4.2))
    styles = line_styles(names)
    for number, name in enumerate(names):
        values, low, high = shares[:, number]
        apart = np.array(LEVELS) + 0.008 * (number - len(names) / 2)  # so that all bars show
        bars = error_bars(values, np.transpose([low, high]))
        style = styles[name] | {"elinewidth": 0.8, "capsize": 2}
        axis.errorbar(apart, values, bars, label=name, **style)
    axis.plot([0, 1], [0, 1], ":", color=BLACK, lw=1, label="perfect calibration")
    axis.set(xlabel="level of the quantile", ylabel="how often the truth was below,\n95% interval")
    axis.grid(alpha=0.3)
    add_legend(figure, axis, "target")
    save_figure(figure, path)


def plot_tracks(
    path: Path,
    panels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    ylabel: str,
    network: str,
) -> None:
    """Draws forecasts of the next step, and the truth, over time.

    Args:
      path: the PNG to write.
      panels: the times [N], quantiles [N, Q] and truth [N] of each panel, by title.
      ylabel: the label of the y axes.
      network: its name.
    """
    figure, axes = _new_axes(len(panels), columns=1, size=(9, 2.3))
    for axis, (title, (times, quantiles, truth)) in zip(axes, panels.items(), strict=True):
        _draw_quantiles(axis, times, quantiles)
        axis.plot(times, truth, ".", color=BLACK, ms=4, label="truth")
        axis.set_title(title, fontsize=10)
        axis.set_ylabel(ylabel)
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(axis.xaxis.get_major_locator()))
    axes[-1].set_xlabel("date of the forecast")
    add_legend(figure, axes[0], f"{network}'s forecast and truth", columns=4)
    save_figure(figure, path)


def _draw_quantiles(axis, times: np.ndarray, quantiles: np.ndarray) -> None:
    axis.plot(times, median(quantiles), color=NETWORK, label="median")
    for low, alpha in ((0, 0.2), (1, 0.35)):
        high = len(LEVELS) - 1 - low
        label = f"{LEVELS[high] - LEVELS[low]:.0%} interval"
        bounds = quantiles[:, low], quantiles[:, high]
        axis.fill_between(times, *bounds, color=NETWORK, alpha=alpha, lw=0, label=label)


def _new_axes(number: int, columns: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """A figure of `number` panels in `columns` columns; `size` in inches is that of one panel."""
    rows = -(-number // columns)
    figure = Figure((size[0] * columns, size[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[number:]:
        axis.axis("off")
    return figure, list(axes.flat[:number])
