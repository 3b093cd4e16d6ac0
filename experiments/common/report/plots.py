"""Plots that several experiments share, written to PNG files without a display."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.common.outputs import write_figure


def plot_learning_curves(
    path: Path, runs: Mapping[str, Sequence[dict[str, Any]]], metric: str
) -> None:
    """Draws the training loss and one validation metric over epochs.

    Args:
      path: the PNG to write.
      runs: the records of each training, as in metrics.jsonl.
      metric: the field to draw next to `train_loss`; its best epoch is marked.
    """
    figure = Figure((10.5, 3.5), layout="constrained")
    axes = figure.subplots(1, 2)
    for name, records in runs.items():
        epochs = [record["epoch"] for record in records]
        for axis, field in zip(axes, ("train_loss", metric), strict=True):
            axis.plot(epochs, [record[field] for record in records], label=name)
        best = max(records, key=lambda record: record[metric])
        axes[1].plot(best["epoch"], best[metric], "o", color=axes[1].lines[-1].get_color())
    for axis, field in zip(axes, ("train_loss", metric), strict=True):
        axis.set(xlabel="epoch", ylabel=field.replace("_", " "))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    save_figure(figure, path)


def plot_confusion(path: Path, matrices: dict[str, np.ndarray], classes: Sequence[str]) -> None:
    """Draws confusion matrices side by side: counts, shaded by the fraction of the true class.

    Args:
      path: the PNG to write.
      matrices: [C, C] per classifier; rows are the true class, columns the predicted class.
      classes: the C names.
    """
    cells = max(2.4, 0.55 * len(classes))  # inches: room for two lines of text in each cell
    label = 0.1 * max(map(len, classes))
    is_turned = len(classes) > 4  # the names of the columns
    height = cells + (label if is_turned else 0.2) + 0.9
    figure = Figure(((cells + label + 0.4) * len(matrices), height), layout="constrained")
    axes = figure.subplots(1, len(matrices), squeeze=False)
    for axis, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        fraction = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axis.imshow(fraction, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if fraction[row, column] > 0.5 else "black"
            text = f"{count}\n{fraction[row, column]:.0%}"
            axis.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
        axis.set_xticks(range(len(classes)), classes, rotation=90 if is_turned else 0)
        axis.set_yticks(range(len(classes)), classes)
        axis.set_title("\n".join(textwrap.wrap(name, 24)), fontsize=10)
        axis.set_xlabel("predicted")
    axes[0, 0].set_ylabel("true")
    save_figure(figure, path)


def plot_alignment(
    path: Path,
    maps: Sequence[tuple[Sequence[str], Sequence[str], np.ndarray]],
    stacked: bool = False,
    written: str = "",
) -> None:
    """Draws a decoder's attention: one panel per sentence, one row per output token.

    Args:
      path: the PNG to write.
      maps: (source tokens [S], target tokens [T], attention weights [T, S]) of each sentence.
      stacked: stacks the panels vertically, for long sources.
      written: the label of the rows.
    """
    widths = [len(source) for source, _, _ in maps]
    heights = [len(target) for _, target, _ in maps]
    if stacked:
        layout = {"nrows": len(maps), "height_ratios": heights}
        size = (0.2 * max(widths) + 2, 0.2 * sum(heights) + 1.4 * len(maps))
    else:
        layout = {"ncols": len(maps), "width_ratios": widths}
        size = (0.3 * sum(widths) + 1.4 * len(maps), 0.3 * max(heights) + 2)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(**layout, squeeze=False)
    for axis, (source, target, weights) in zip(axes.flat, maps, strict=True):
        axis.imshow(weights, cmap="Oranges", vmin=0, vmax=1, aspect="equal")
        names = [[name.replace("$", r"\$") for name in side] for side in (source, target)]
        axis.set_xticks(range(len(source)), names[0], rotation=90, fontsize=8)
        axis.set_yticks(range(len(target)), names[1], fontsize=8)
        axis.set_ylabel(written)
        axis.xaxis.tick_top()
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG."""
    write_figure(path, figure, dpi=120)
