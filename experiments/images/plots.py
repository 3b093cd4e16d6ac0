"""The figures of `experiments.images`."""

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.images.sequences import cell_title
from experiments.vision.digits import CLASSES

_COLOURS = {"gru": "tab:green", "lstm": "tab:blue", "rnn": "tab:orange", "min_gru": "tab:purple"}
_LEAST = 1e-12  # of a gradient; what is less is not drawn

Profiles = Mapping[str, tuple[np.ndarray, np.ndarray]]  # of each cell, untrained and trained [T]


def plot_accuracy(path: Path, accuracy: Mapping[str, Mapping[str, float]]) -> None:
    """Draws bars of the share right: a group for each reading, a bar for each cell in it.

    Args:
      path: the PNG to write.
      accuracy: for each reading, as it shall be called, that of each cell.
    """
    figure = Figure((1.5 + 1.9 * len(accuracy), 3.4), dpi=120, layout="constrained")
    axis = figure.subplots()
    cells = list(next(iter(accuracy.values())))
    width = 0.8 / len(cells)
    for number, cell in enumerate(cells):
        places = np.arange(len(accuracy)) + width * (number - (len(cells) - 1) / 2)
        shares = [row[cell] for row in accuracy.values()]
        axis.bar(places, shares, width, label=cell_title(cell), color=_COLOURS[cell])
        for place, share in zip(places, shares, strict=True):
            axis.text(place, share + 0.01, f"{100 * share:.0f}", ha="center", fontsize=8)
    axis.axhline(1 / CLASSES, color="grey", linestyle=":", label="guessing")
    axis.set_xticks(range(len(accuracy)), accuracy)
    axis.set(ylim=(0, 1.08), ylabel="test digits right")
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(path)


def plot_gradients(path: Path, profiles: Mapping[str, Profiles]) -> None:
    """Draws the gradient's norm by the state against the steps back, a panel for each reading.

    Args:
      path: the PNG to write.
      profiles: for each reading, as it shall be called, the norms relative to the last step's.
    """
    size = (3.5 * len(profiles) + 1, 3.3)
    figure = Figure(size, dpi=120, layout="constrained")
    axes = figure.subplots(1, len(profiles), squeeze=False, sharey=True)[0]
    for axis, (title, cells) in zip(axes, profiles.items(), strict=True):
        _draw_gradients(axis, cells)
        axis.set_title(title, fontsize=10)
    axes[0].set_ylabel("‖∂L/∂state‖, relative")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(path)


def plot_failure(
    path: Path, title: str, records: Mapping[str, Sequence[dict[str, Any]]], profiles: Profiles
) -> None:
    """Draws how far each cell learned from the longest sequences, and how far gradients reach.

    Args:
      path: the PNG to write.
      title: of the figure.
      records: the metrics.jsonl of each cell's training.
      profiles: as in `plot_gradients`.
    """
    figure = Figure((11, 3.4), dpi=120, layout="constrained")
    axes = figure.subplots(1, 3)
    for cell, rows in records.items():
        epochs = [row["epoch"] for row in rows]
        for axis, field in zip(axes, ("train_loss", "validation_accuracy"), strict=False):
            axis.plot(epochs, [row[field] for row in rows], color=_COLOURS[cell])
    guessing = {"color": "grey", "linestyle": ":"}
    axes[0].axhline(log(CLASSES), **guessing)
    axes[1].axhline(1 / CLASSES, **guessing)
    axes[0].set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    axes[1].set(xlabel="epoch", ylabel="validation digits right", ylim=(0, 1))
    axes[1].yaxis.set_major_formatter(PercentFormatter(1.0))
    _draw_gradients(axes[2], profiles)
    axes[2].set_ylabel("‖∂L/∂state‖, relative")
    for axis in axes[:2]:
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.suptitle(f"{title} (grey: guessing)", fontsize=11)
    figure.savefig(path)


def plot_misread(
    path: Path, images: np.ndarray, labels: np.ndarray, chances: np.ndarray, most: int = 24
) -> None:
    """Draws digits that were misread, the surest mistakes first.

    Args:
      path: the PNG to write.
      images: [N, 28, 28].
      labels: [N].
      chances: [N, 10], the probabilities of the digits.
      most: of them at most.
    """
    wrong = np.flatnonzero(chances.argmax(1) != labels)
    wrong = wrong[np.argsort(-chances[wrong].max(1), kind="stable")][:most]
    columns = 8
    rows = max(-(-len(wrong) // columns), 1)
    figure = Figure((1.25 * columns, 1.55 * rows), dpi=120, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, place in zip(axes.flat, wrong, strict=False):
        axis.imshow(images[place], cmap="gray_r")
        read = chances[place].argmax()
        title = f"{labels[place]} as {read}, {chances[place, read]:.0%}"
        axis.set_title(title, fontsize=8)
    figure.savefig(path)


def _draw_gradients(axis: Axes, profiles: Profiles) -> None:
    for cell, (before, after) in profiles.items():
        for profile, style, when in ((before, ":", "untrained"), (after, "-", "trained")):
            drawn = np.where(profile > _LEAST, profile, np.nan)
            axis.plot(drawn, style, color=_COLOURS[cell], label=f"{cell_title(cell)}, {when}")
    axis.set(yscale="log", ylim=(_LEAST, 1e3), xlabel="steps back from the end")
    axis.grid(alpha=0.3)
