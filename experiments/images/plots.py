"""The figures of `experiments.images`."""

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.common.outputs import write_figure
from experiments.common.report.plots import (
    CELLS,
    GRAY,
    add_legend,
    cell_title,
    error_bars,
    line_styles,
)
from experiments.common.report.shares import mean_interval
from experiments.memory import gradient_flow
from experiments.vision.digits import CLASSES

HATCHES = ("", "//", "..", "xx")  # tell bars apart in gray print
Profiles = Mapping[str, tuple[np.ndarray, np.ndarray]]  # per cell: untrained [T] and trained [T]


def plot_accuracy(
    path: Path, accuracies: Mapping[str, Mapping[str, Sequence[float]]], num_test: int
) -> None:
    """Draws bars of the test accuracy: one group per reading, one bar per cell.

    Args:
      path: the PNG to write.
      accuracies: of each cell's seeds, by the title of the reading.
      num_test: the number of test digits, for 95% intervals.
    """
    figure = Figure((1.5 + 1.9 * len(accuracies), 3.4), dpi=120, layout="constrained")
    axis = figure.subplots()
    cells = list(next(iter(accuracies.values())))
    width = 0.8 / len(cells)
    for number, cell in enumerate(cells):
        xs = np.arange(len(accuracies)) + width * (number - (len(cells) - 1) / 2)
        heights = [float(np.mean(row[cell])) for row in accuracies.values()]
        intervals = [mean_interval(row[cell], num_test) for row in accuracies.values()]
        bars = error_bars(heights, intervals)
        style = {"color": CELLS[cell][0], "hatch": HATCHES[number % 4], "edgecolor": "white"}
        axis.bar(xs, heights, width, label=cell_title(cell), **style)
        axis.errorbar(xs, heights, bars, fmt="none", ecolor="black", capsize=2, elinewidth=1)
        for x, height, above in zip(xs, heights, bars[1], strict=True):
            label = f"{100 * height:.0f}"
            axis.text(x, height + above + 0.015, label, ha="center", fontsize=8)
    axis.axhline(1 / CLASSES, color=GRAY, linestyle=":", label="guessing")
    axis.set_xticks(range(len(accuracies)), accuracies)
    axis.set(ylim=(0, 1.12), ylabel="test accuracy, 95% interval", xlabel="how the image is read")
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    add_legend(figure, axis, "cell")
    write_figure(path, figure)


def plot_gradients(path: Path, profiles: Mapping[str, Profiles]) -> None:
    """Plots gradient norms by the steps back in time, one panel per reading.

    Args:
      path: the PNG to write.
      profiles: of each cell, by the title of the reading; see `memory.gradient_flow`.
    """
    size = (3.5 * len(profiles) + 1, 3.3)
    figure = Figure(size, dpi=120, layout="constrained")
    axes = figure.subplots(1, len(profiles), squeeze=False, sharey=True)[0]
    for axis, (title, cells) in zip(axes, profiles.items(), strict=True):
        _draw_gradients(axis, cells)
        axis.set_title(title, fontsize=10)
    axes[0].set_ylabel(gradient_flow.NORM_LABEL)
    add_legend(figure, axes[0], "cell")
    write_figure(path, figure)


def plot_failure(
    path: Path, title: str, records: Mapping[str, Sequence[dict[str, Any]]], profiles: Profiles
) -> None:
    """Plots how well each cell learns the longest sequences, and how far its gradients reach.

    Args:
      path: the PNG to write.
      title: of the figure.
      records: of each cell's training, as in metrics.jsonl.
      profiles: of each cell.
    """
    figure = Figure((11, 3.4), dpi=120, layout="constrained")
    axes = figure.subplots(1, 3)
    styles = line_styles(records)
    for cell, rows in records.items():
        epochs = [row["epoch"] for row in rows]
        for axis, field in zip(axes, ("train_loss", "validation_accuracy"), strict=False):
            line = styles[cell] | {"markevery": max(1, len(rows) // 8)}
            axis.plot(epochs, [row[field] for row in rows], **line)
    guessing = {"color": GRAY, "linestyle": ":"}
    axes[0].axhline(log(CLASSES), **guessing)
    axes[1].axhline(1 / CLASSES, **guessing)
    axes[0].set(xlabel="epoch", ylabel="training loss: cross-entropy, nats", ylim=(0, None))
    axes[1].set(xlabel="epoch", ylabel="validation accuracy", ylim=(0, 1))
    axes[1].yaxis.set_major_formatter(PercentFormatter(1.0))
    _draw_gradients(axes[2], profiles)
    axes[2].set_ylabel(gradient_flow.NORM_LABEL)
    for axis in axes[:2]:
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    add_legend(figure, axes[2], "cell")
    figure.suptitle(f"{title} (dotted gray: guessing)", fontsize=11)
    write_figure(path, figure)


def plot_misread(
    path: Path, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, limit: int = 24
) -> None:
    """Draws misread digits, the most confident mistakes first.

    Args:
      path: the PNG to write.
      images: [N, 28, 28].
      labels: [N].
      probabilities: [N, 10], given by the classifier.
      limit: the maximum number of digits.
    """
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    wrong = wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:limit]
    columns = 8
    rows = max(-(-len(wrong) // columns), 1)
    figure = Figure((1.25 * columns, 1.55 * rows), dpi=120, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, wrong, strict=False):
        axis.imshow(images[index], cmap="gray_r")
        answer = probabilities[index].argmax()
        title = f"{labels[index]} as {answer}, {probabilities[index, answer]:.0%}"
        axis.set_title(title, fontsize=8)
    write_figure(path, figure)


def _draw_gradients(axis: Axes, profiles: Profiles) -> None:
    for cell, (before, after) in profiles.items():
        color, marker = CELLS[cell]
        for profile, dashes, when in ((before, ":", "untrained"), (after, "-", "trained")):
            style = {"color": color, "marker": marker, "ls": dashes, "ms": 4}
            style |= {"mfc": "white" if dashes == ":" else color}
            label = f"{cell_title(cell)}, {when}"
            gradient_flow.draw_profile(axis, profile, label=label, **style)
    gradient_flow.format_axis(axis)
    axis.set_xlabel(gradient_flow.STEPS_LABEL)
