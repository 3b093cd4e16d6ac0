"""The figures of `experiments.speech_recognition`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.common.outputs import write_figure


def plot_posteriorgram(
    path: Path,
    panels: Sequence[tuple[str, np.ndarray, np.ndarray]],
    strides: Sequence[int],
    digits: Sequence[int],
    ends: Sequence[int],
) -> None:
    """Draws the probability of each digit over time in one string, one panel per network.

    Args:
      path: the PNG to write.
      panels: for each network its name, its probabilities [T, 11] with the blank first, and the
        label [T] that each step adds, 0 if none.
      strides: for each network, the frames per step.
      digits: the digits said.
      ends: the frame at which each digit ends.
    """
    figure = Figure(figsize=(9, 2.6 * len(panels)), dpi=120, layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for axis, (name, probabilities, labels), stride in zip(axes, panels, strides, strict=True):
        extent = (0, stride * len(probabilities), 9.5, -0.5)
        image = axis.imshow(
            probabilities[:, 1:].T, cmap="Blues", vmin=0, vmax=1, extent=extent, aspect="auto"
        )
        for step in np.flatnonzero(labels):
            # A step's label is known once all of its frames have been read.
            axis.plot(stride * (step + 1), labels[step] - 1, "o", color="tab:orange", markersize=5)
        for end, digit in zip(ends, digits, strict=True):
            axis.axvline(end, color="gray", linewidth=0.8, linestyle=":")
            axis.text(end, -0.7, str(digit), ha="right", va="bottom", fontsize=9)
        axis.set_yticks(range(10))
        axis.set_ylabel("digit")
        axis.set_title(name, fontsize=10, loc="left", pad=16)
    axes[-1].set_xlabel("frame (dotted line: a digit ends; dot: it is recognized)")
    figure.colorbar(image, ax=list(axes), label="probability")
    write_figure(path, figure)


def plot_errors_by_length(path: Path, rates: Mapping[str, Mapping[int, float]]) -> None:
    """Draws digit error rates against the number of digits in a string.

    Args:
      path: the PNG to write.
      rates: for each recognizer the error rate by number of digits.
    """
    figure = Figure(figsize=(5.5, 3.4), dpi=120, layout="constrained")
    axis = figure.subplots()
    for (name, row), marker in zip(rates.items(), "os^D", strict=False):
        axis.plot(list(row), list(row.values()), f"{marker}-", label=name, alpha=0.8)
    axis.set(xlabel="digits in the string", ylabel="digit errors")
    axis.set_ylim(bottom=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    write_figure(path, figure)
