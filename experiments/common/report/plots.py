"""Plots that several experiments share, written to PNG files without a display.

Every experiment takes the colors of cells, rivals and trainings from here, so that the same cell
has the same color everywhere. They are those of Okabe & Ito (2008), "Color Universal Design", which
people who see fewer hues can tell apart; markers and dashes tell lines apart in gray print.
"""

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common.outputs import write_figure

GREEN, BLUE, VERMILION, PURPLE = "#009E73", "#0072B2", "#D55E00", "#CC79A7"
ORANGE, SKY, BLACK, GRAY = "#E69F00", "#56B4E9", "#000000", "#808080"
PALETTE = (ORANGE, BLACK, SKY, PURPLE, VERMILION, BLUE, GREEN)  # of what is in no table below
CELLS = {
    "gru": (GREEN, "o"),
    "lstm": (BLUE, "s"),
    "rnn": (VERMILION, "D"),
    "min_gru": (PURPLE, "^"),
    "layer_norm_gru": (SKY, "v"),
    "transformer": (ORANGE, "P"),
}
RIVALS = {  # what the networks are compared with: baselines, and other libraries
    "persistence": (GRAY, "x"),
    "no memory": (GRAY, "x"),
    "the last frame": (GRAY, "x"),
    "climatology": (BLACK, "+"),
    "ridge": (ORANGE, "P"),
    "last ": (ORANGE, "P"),
    "plain": (BLACK, "x"),
    "grujax": CELLS["gru"],
    "flax.linen": (BLUE, "s"),
    "flax.nnx": (SKY, "v"),
    "haiku": (VERMILION, "D"),
    "equinox": (PURPLE, "^"),
    "keras": (ORANGE, "P"),
    "torch": (BLACK, "X"),
    "onnxruntime": (GRAY, "<"),
    "openvino": (GRAY, ">"),
}
DASHES = ("-", "--", "-.", ":")
TITLES = {
    "min_gru": "minGRU",
    "layer_norm_gru": "layer-norm GRU",
    "transformer": "Transformer",
}
_NAMES = {"min_gru": r"min[_ ]?gru", "layer_norm_gru": r"layer[_ -]norm[_ ]gru"}  # with blanks, too


def cell_title(cell: str) -> str:
    """The name of a cell in tables and figures: "GRU" for "gru"."""
    return TITLES.get(cell, cell.upper())


def line_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The color, marker and dashes of each name, as arguments of `Axes.plot`.

    A name with the word of a cell in it, such as "GRU, 2 layers", has the color of that cell;
    names that begin like one of `RIVALS` have theirs. Others get the colors that are left, in turn.
    Names with the same color differ in their dashes.
    """
    names = list(names)
    fixed = {name: _fixed_style(name) for name in names}
    taken = {style[0] for style in fixed.values() if style}
    free = [color for color in PALETTE if color not in taken] or list(PALETTE)
    markers, others = "hX*Pd<>p", 0
    styles, drawn = {}, Counter[str]()
    for name in names:
        color, marker = fixed[name] or (free[others % len(free)], markers[others % len(markers)])
        others += fixed[name] is None
        dashes = DASHES[drawn[color] % len(DASHES)]
        face = color if drawn[color] == 0 else "white"
        styles[name] = {"color": color, "marker": marker, "ls": dashes, "mfc": face, "ms": 5}
        drawn[color] += 1
    return styles


def _fixed_style(name: str) -> tuple[str, str] | None:
    for cell in reversed(CELLS):
        if re.search(rf"\b({_NAMES.get(cell, cell)})\b", name, re.IGNORECASE):
            return CELLS[cell]
    return next((style for rival, style in RIVALS.items() if name.startswith(rival)), None)


def error_bars(
    values: Iterable[float], intervals: Iterable[tuple[float, float]]
) -> list[np.ndarray]:
    """The distances from values [N] to the ends of their intervals [N, 2], for `Axes.errorbar`."""
    middle, (low, high) = np.array(list(values)), np.array(list(intervals)).T
    return [np.maximum(middle - low, 0), np.maximum(high - middle, 0)]


class Curve(NamedTuple):
    """What a learning curve shows."""

    field: str  # of the records
    label: str  # of the axis, with the unit
    is_negated: bool = False  # draws the field times -1, as where a loss was kept as a score


def plot_learning_curves(
    path: Path,
    runs: Mapping[str, Sequence[dict[str, Any]]],
    loss: str,
    metric: Curve,
) -> None:
    """Draws the training loss and one validation metric over epochs.

    Args:
      path: the PNG to write.
      runs: the records of each training, as in metrics.jsonl.
      loss: the name of the training loss, with its unit.
      metric: what to draw next to it; the best epoch is marked by a star.
    """
    figure = Figure((10.5, 3.5), layout="constrained")
    axes = figure.subplots(1, 2)
    styles = line_styles(runs)
    curves = (Curve("train_loss", f"training loss: {loss}"), metric)
    for name, records in runs.items():
        epochs = np.array([record["epoch"] for record in records])
        every = max(1, len(epochs) // 8)
        for axis, (field, _, is_negated) in zip(axes, curves, strict=True):
            values = np.array([record[field] for record in records])
            shown = -values if is_negated else values
            axis.plot(epochs, shown, label=name, markevery=every, **styles[name])
        best = int(values.argmax())
        star = {"color": styles[name]["color"], "mec": "black", "ms": 12, "zorder": 3}
        axes[1].plot(epochs[best], shown[best], "*", **star)
    axes[1].plot([], [], "*", color="white", mec="black", ms=12, label="best epoch")
    for axis, (_, label, _) in zip(axes, curves, strict=True):
        axis.set(xlabel="epoch", ylabel="\n".join(textwrap.wrap(label, 34)))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    add_legend(figure, axes[1], "training")
    save_figure(figure, path)


def add_legend(figure: Figure, axes: Axes, title: str, columns: int = 1) -> None:
    """Writes the names of the lines of `axes` outside: on the right, or in columns below."""
    place = "outside right upper" if columns == 1 else "outside lower center"
    lines = axes.get_legend_handles_labels()
    figure.legend(*lines, loc=place, title=title, ncols=columns, fontsize=8, title_fontsize=8)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, and as PDF beside it."""
    write_figure(path, figure, dpi=120)
