"""The figures of `experiments.speech_recognition`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.common.outputs import write_figure
from experiments.common.report.plots import (
    GRAY,
    ORANGE,
    Curve,
    add_legend,
    error_bars,
    line_styles,
)

LEARNING_CURVE = (
    "CTC, nats per string",
    Curve("validation_log_likelihood", "validation CTC loss, nats per string", is_negated=True),
)


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
            axis.plot(stride * (step + 1), labels[step] - 1, "o", color=ORANGE, mec="black", ms=5)
        for end, digit in zip(ends, digits, strict=True):
            axis.axvline(end, color=GRAY, linewidth=0.8, linestyle=":")
            axis.text(end, -0.7, str(digit), ha="right", va="bottom", fontsize=9)
        axis.set_yticks(range(10))
        axis.set_ylabel("digit")
        axis.set_title(name, fontsize=10, loc="left", pad=16)
    axes[-1].set_xlabel("frame")
    axes[-1].plot([], [], "o", color=ORANGE, mec="black", ms=5, label="the network adds a digit")
    axes[-1].plot([], [], ":", color=GRAY, label="a digit ends, its name above")
    add_legend(figure, axes[-1], "marks", columns=2)
    figure.colorbar(image, ax=list(axes), label="probability of the digit")
    write_figure(path, figure)


def plot_errors_by_length(
    path: Path, rates: Mapping[str, Mapping[int, tuple[float, float, float]]]
) -> None:
    """Draws digit error rates, with their 95% intervals, against the number of digits in a string.

    Args:
      path: the PNG to write.
      rates: for each recognizer by number of digits the error rate, and the ends of its interval.
    """
    figure = Figure(figsize=(7.5, 3.6), dpi=120, layout="constrained")
    axis = figure.subplots()
    styles = line_styles(rates)
    for number, (name, row) in enumerate(rates.items()):
        values, *interval = np.array(list(row.values())).T
        apart = np.array(list(row)) + 0.06 * (number - len(rates) / 2)  # so that all bars show
        bars = error_bars(values, np.transpose(interval))
        style = styles[name] | {"elinewidth": 0.8, "capsize": 2}
        axis.errorbar(apart, values, bars, label=name, **style)
    axis.set(xlabel="digits in the string", ylabel="errors per digit said,\n95% interval")
    axis.set_ylim(bottom=0)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.grid(alpha=0.3)
    add_legend(figure, axis, "network, decoding")
    write_figure(path, figure)
