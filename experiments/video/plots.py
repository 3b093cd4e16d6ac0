"""The figures of `experiments.video`."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.common.outputs import write_figure
from experiments.common.report.plots import add_legend, error_bars, line_styles


def plot_frames(path: Path, clips: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> None:
    """Draws videos as rows of frames, one below the other.

    Args:
      path: the PNG to write.
      clips: for each a title, and frames [T, S, S] by the name of their row. Rows are aligned at
        their ends.
    """
    longest = max(len(frames) for _, rows in clips for frames in rows.values())
    count = sum(len(rows) for _, rows in clips)
    size = (0.62 * longest + 1.6, 0.62 * count + 0.32 * len(clips))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    parts = np.atleast_1d(
        np.array(figure.subfigures(len(clips), 1, height_ratios=[len(rows) for _, rows in clips]))
    )
    for part, (title, rows) in zip(parts, clips, strict=True):
        part.suptitle(title, fontsize=9, x=0.01, ha="left")
        axes = part.subplots(len(rows), longest, squeeze=False)
        for line, (name, frames) in zip(axes, rows.items(), strict=True):
            line[0].text(
                -0.1, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=8
            )
            first = longest - len(frames)
            for axis in line[:first]:
                axis.axis("off")
            for axis, frame in zip(line[first:], frames, strict=True):
                axis.imshow(frame, cmap="Greys", vmin=0, vmax=1)
                axis.set(xticks=[], yticks=[])
    write_figure(path, figure)


def plot_psnr(path: Path, psnrs: Mapping[str, np.ndarray]) -> None:
    """Plots the PSNR of each forecaster by the number of frames ahead.

    Args:
      path: the PNG to write.
      psnrs: of each forecaster the PSNR, and the ends of its 95% interval, [3, count].
    """
    figure = Figure(figsize=(8, 3.6), dpi=120, layout="constrained")
    axis = figure.subplots()
    styles = line_styles(psnrs)
    for number, (name, (values, *interval)) in enumerate(psnrs.items()):
        apart = np.arange(len(values)) + 1 + 0.04 * (number - len(psnrs) / 2)
        bars = error_bars(values, np.transpose(interval))
        style = styles[name] | {"elinewidth": 0.8, "capsize": 2}
        axis.errorbar(apart, values, bars, label="\n".join(textwrap.wrap(name, 28)), **style)
    axis.set(xlabel="frames ahead", ylabel="peak signal-to-noise ratio, dB,\n95% interval")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    add_legend(figure, axis, "forecast")
    write_figure(path, figure)
