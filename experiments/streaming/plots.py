"""The figures of `experiments.streaming`."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.common.report.plots import CELLS, add_legend, save_figure
from experiments.streaming.report import Results, kind_title
from experiments.streaming.settings import Settings
from experiments.streaming.steps import KINDS


def plot_latency(path: Path, settings: Settings, results: Results) -> None:
    """Plots time and memory of the largest networks against the position, and bits against time."""
    figure = Figure((12.5, 3.6), layout="constrained")
    time, memory, quality = figure.subplots(1, 3)
    positions, largest = list(settings.positions), max(settings.sizes)
    for kind, cell in KINDS.items():
        costs = [results.costs["text", kind, largest, position] for position in positions]
        time.plot(positions, [1e6 * cost.loop for cost in costs], **_style(kind))
        memory.plot(positions, [cost.memory / 1024 for cost in costs], **_style(kind))
        for position in positions if "growing" in kind else positions[-1:]:
            seconds = [results.costs["text", kind, n, position].loop for n in settings.sizes]
            bits = [results.models[cell][size].results["bits"] for size in settings.sizes]
            quality.plot(1e6 * np.array(seconds), bits, **_style(kind))
            if "growing" in kind:
                place = 1e6 * seconds[0], bits[0]
                quality.annotate(f"{position:,}", place, (0, 4), fontsize=7, **_OFFSET)
    time.set(ylabel=f"µs per step, {largest:,} parameters")
    memory.set(ylabel=f"KiB of the state, {largest:,} parameters")
    for axis in (time, memory):
        axis.set(xlabel="position in the stream", xscale="log", yscale="log")
    quality.set(xlabel="µs per step, three sizes each", ylabel="bits per character", xscale="log")
    for axis in (time, memory, quality):
        axis.grid(alpha=0.3)
    add_legend(figure, time, "cell")
    save_figure(figure, path)


def plot_beyond(path: Path, results: Results) -> None:
    """Plots the bits against the position in a piece of text."""
    figure = Figure((6.5, 3.2), layout="constrained")
    axis = figure.subplots()
    for kind, bits in results.beyond.items():
        axis.plot(range(len(bits)), list(bits.values()), **_style(kind))
    axis.set_xticks(range(len(bits)), list(bits), rotation=30, ha="right", fontsize=8)
    axis.set(xlabel="characters of a piece of text", ylabel="bits per character")
    axis.grid(alpha=0.3)
    add_legend(figure, axis, "cell")
    save_figure(figure, path)


_OFFSET: dict[str, Any] = {"textcoords": "offset points", "ha": "center"}


def _style(kind: str) -> dict[str, Any]:
    color, marker = CELLS[KINDS[kind]]
    hollow = {"mfc": "white", "ls": "--"} if "window" in kind else {}
    return {"color": color, "marker": marker, "ms": 5, "label": kind_title(kind)} | hollow
