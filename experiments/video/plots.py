"""The figures of `experiments.video`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.common.outputs import write_figure


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
    """Plots the PSNR [count] of each forecaster by the number of frames ahead."""
    figure = Figure(figsize=(6, 3.8), dpi=120, layout="constrained")
    axis = figure.subplots()
    for (name, row), marker in zip(psnrs.items(), "os^D", strict=False):
        axis.plot(np.arange(len(row)) + 1, row, f"{marker}-", label=name, alpha=0.8)
    axis.set(xlabel="frames ahead", ylabel="PSNR, dB")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, fontsize=7)
    write_figure(path, figure)
