"""Heat maps that several experiments share: confusion matrices and the attention of decoders."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common.report.plots import save_figure

CELL_INCHES = 0.31  # the side of a cell with one line of text
FEW = 8  # up to so many classes, a confusion matrix has counts, too
LONGEST = 20  # characters of a label
WIDEST = 16  # inches
TALL = 40  # rows; of a map with more, some have no label


def plot_confusion(path: Path, matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
    """Draws confusion matrices, colored by the share of the true class.

    A cell has its percentage, and with up to 8 classes the count above it; one without examples is
    empty. The figure grows with the number of classes.

    Args:
      path: the PNG to write.
      matrices: int [C, C] per classifier; rows are the true class, columns the predicted class.
      classes: the C names.
    """
    number, is_turned = len(classes), len(classes) > 4
    widest = max(len(f"{matrix.max()}") for matrix in matrices.values())
    side = max(2 * CELL_INCHES, 0.08 * widest + 0.12) if number <= FEW else CELL_INCHES
    names = [shorten(name) for name in classes]
    if len(set(names)) < number:
        names = [f"{i}. {name}" for i, name in enumerate(names, 1)]
    longest = max(map(len, names))
    panel = max(side * number, 1.8) + 0.08 * (longest + widest) + 0.8  # inches
    columns = max(1, min(len(matrices), int(WIDEST // panel)))
    rows = -(-len(matrices) // columns)
    height = max(side * number, 1.8) + (0.05 * longest + 0.4 if is_turned else 0.5) + 0.35
    figure = Figure((panel * columns + 0.8, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axis in grid.flat[len(matrices) :]:
        axis.set_axis_off()
    for axis, (name, matrix) in zip(grid.flat, matrices.items(), strict=False):
        image = _draw_confusion(axis, np.asarray(matrix), number <= FEW)
        turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if is_turned else {}
        axis.set_xticks(range(number), names, fontsize=8, **turned)
        totals = zip(names, matrix.sum(1), strict=True)
        axis.set_yticks(range(number), [f"{name} ({n:,})" for name, n in totals], fontsize=8)
        axis.set_title("\n".join(textwrap.wrap(name, max(24, 4 * number))), fontsize=10)
        axis.set(xlabel="predicted class", ylabel="true class (examples)")
    label = "share of the true class, %"
    figure.colorbar(image, ax=grid, label=label, shrink=0.8, aspect=25 * rows)
    _grow_cells(figure, grid.flat[0], side * number, (columns, rows))
    save_figure(figure, path)


def _draw_confusion(axis: Axes, matrix: np.ndarray, has_counts: bool) -> Any:
    percent = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    for (row, column), count in np.ndenumerate(matrix):
        if not count:
            continue
        share = percent[row, column]
        text = f"{share:.0f}" if share >= 0.5 else "<1"
        text = f"{count:,}\n{text}%" if has_counts else text
        style = {"color": "white" if share > 50 else "black", "fontsize": 8 if has_counts else 7}
        axis.text(column, row, text, ha="center", va="center", **style)
    edges = np.arange(len(matrix) + 1) - 0.5
    for line in edges:  # pale, so that empty cells can be counted
        axis.axhline(line, color="0.9", linewidth=0.5)
        axis.axvline(line, color="0.9", linewidth=0.5)
    return axis.imshow(percent, cmap="Blues", vmin=0, vmax=100)


def _grow_cells(figure: Figure, axis: Axes, size: float, panels: tuple[int, int]) -> None:
    """Enlarges a figure until the side of the square `axis`, one of C × R panels, has this size."""
    figure.draw_without_rendering()
    missing = size - axis.get_window_extent().width / figure.dpi
    if missing > 0:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width + missing * panels[0], height + missing * panels[1])


def shorten(label: str, longest: int = LONGEST) -> str:
    """The beginning and the end of a label that is too long; dollars are not math."""
    if len(label) > longest:
        label = f"{label[: longest - 8].rstrip()}…{label[-7:].lstrip()}"
    return label.replace("$", r"\$")


def plot_alignment(
    path: Path,
    maps: Sequence[tuple[Sequence[str], Sequence[str], np.ndarray]],
    read: str = "token that is read",
    written: str = "token that is written",
    is_stacked: bool = False,
) -> None:
    """Draws a decoder's attention: one panel per sentence, one row per output token.

    The side of a cell is fixed, except in maps with more than 40 rows, which would become too high.

    Args:
      path: the PNG to write.
      maps: (source tokens [S], target tokens [T], attention weights [T, S]) of each sentence.
      read: the label of the columns.
      written: the label of the rows.
      is_stacked: whether the panels stand one above the other, for long sources.
    """
    widths = [len(source) for source, _, _ in maps]
    heights = [len(target) for _, target, _ in maps]
    side = CELL_INCHES * 0.75
    is_tall = max(heights) > TALL
    high = side * min(max(heights), TALL)
    if is_stacked:
        layout = {"nrows": len(maps), "height_ratios": heights}
        size = (side * max(widths) + 2.5, side * sum(heights) + 1.5 * len(maps))
    else:
        layout = {"ncols": len(maps), "width_ratios": widths}
        size = (side * sum(widths) + 1.5 * len(maps) + 1, high + 1.6)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(**layout, squeeze=False)
    top = max(weights.max() for _, _, weights in maps)
    for axis, (source, target, weights) in zip(axes.flat, maps, strict=True):
        options = {"vmin": 0, "vmax": attention_top(top), "aspect": "auto" if is_tall else "equal"}
        image = axis.imshow(weights, cmap="Oranges", **options)
        axis.set_xticks(range(len(source)), list(map(shorten, source)), rotation=90, fontsize=8)
        rows = range(0, len(target), -(-len(target) // TALL))
        axis.set_yticks(rows, [shorten(target[row]) for row in rows], fontsize=8)
        axis.set(xlabel=read, ylabel=written)
        axis.xaxis.set_label_position("top")
        axis.xaxis.tick_top()
    aspect = 25 * (len(maps) if is_stacked else 1)
    figure.colorbar(image, ax=axes, label="attention weight", shrink=0.8, aspect=aspect)
    save_figure(figure, path)


def attention_top(largest: float) -> float:
    """Where the colors of attention end: at 1, or at the largest weight if that is below 0.5."""
    return 1.0 if largest >= 0.5 or not largest > 0 else float(largest)
