"""The figure of `experiments.text_generation`."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.common.report.plots import GRAY, add_legend, line_styles, save_figure


class Curve(NamedTuple):
    """The course of a training with E evaluations on the validation books."""

    characters: np.ndarray  # [E], read so far
    seconds: np.ndarray  # [E]
    bits: np.ndarray  # [E], per character


def plot_curves(
    path: Path,
    curves: Mapping[str, Mapping[str, Curve]],
    floors: Mapping[str, Mapping[str, float]],
) -> None:
    """Draws bits per character against characters read and against time, a row per corpus.

    Args:
      path: the PNG to write.
      curves: the trainings by name, per corpus.
      floors: the horizontal lines, bits per character by name, per corpus.
    """
    figure = Figure((9.5, 3.1 * len(curves)), layout="constrained")
    axes = figure.subplots(len(curves), 2, sharey="row", squeeze=False)
    for row, (corpus, trainings) in zip(axes, curves.items(), strict=True):
        styles = line_styles(trainings)
        for name, curve in trainings.items():
            line = styles[name] | {"ms": 4, "markevery": max(1, len(curve.bits) // 15)}
            row[0].plot(curve.characters / 1e6, curve.bits, label=name, **line)
            row[1].plot(curve.seconds, curve.bits, label=name, **line)
        for axis in row:
            for number, (name, bits) in enumerate(floors[corpus].items()):
                style = (":", "--", "-.")[number % 3]
                axis.axhline(bits, color=GRAY, linestyle=style, label=name)
            axis.set(title=corpus)
            axis.grid(alpha=0.3)
        row[0].set(xlabel="characters read, millions", ylabel="bits per validation character")
        row[1].set(xlabel="seconds of training")
    add_legend(figure, axes[0, 0], "model")
    save_figure(figure, path)
