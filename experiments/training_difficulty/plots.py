"""The figures of `experiments.training_difficulty`. A key is (task, length, cell, trick)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.common.outputs import write_figure
from experiments.common.report.plots import (
    CELLS,
    add_legend,
    cell_title,
    error_bars,
    line_styles,
)
from experiments.common.report.shares import wilson_interval
from experiments.memory import gradient_flow
from experiments.memory.tricks import TRICKS
from experiments.training_difficulty.report import Key, describe_gain, task_title


def plot_success(
    path: Path,
    tasks: Mapping[str, Sequence[int]],
    cells: Sequence[str],
    solved: Mapping[Key, np.ndarray],
) -> None:
    """Plots the share of trainings that solved each task by its length: all tricks, and plain.

    Args:
      path: the PNG to write.
      tasks: the lengths of each task, ascending.
      cells: names of cells.
      solved: whether each training [seeds] solved it.
    """
    figure, axes = _panels(1, len(tasks), (3.5, 3.3), sharey=True)
    for axis, (task, lengths) in zip(axes[0], tasks.items(), strict=True):
        for number, cell in enumerate(cells):
            overall = [
                np.concatenate([v for k, v in solved.items() if k[:3] == (task, length, cell)])
                for length in lengths
            ]
            plain = [solved[task, length, cell, "plain"] for length in lengths]
            color, marker = CELLS[cell]
            for trainings, name, dashes in ((overall, "all", "-"), (plain, "plain", ":")):
                # Apart, so that all are visible.
                x = np.arange(len(lengths)) + 0.06 * (number - 1) + 0.2 * (name == "plain") - 0.1
                rates = [t.mean() for t in trainings]
                bars = error_bars(rates, [wilson_interval(t.mean(), len(t)) for t in trainings])
                style = {"color": color, "marker": marker, "ls": dashes, "ms": 5}
                style |= {"mfc": "white" if name == "plain" else color}
                label = f"{cell_title(cell)}, {name}"
                axis.errorbar(x, rates, bars, label=label, elinewidth=0.8, capsize=2, **style)
        axis.set_xticks(range(len(lengths)), [str(length) for length in lengths])
        axis.set(xlim=(-0.4, len(lengths) - 0.6), ylim=(-0.04, 1.04), title=task)
        axis.set_xlabel("delay" if task == "copy" else "steps T")
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("trainings that solved the task,\n95% interval")
    add_legend(figure, axes[0, 0], "cell, tricks")
    write_figure(path, figure)


def plot_gains(
    path: Path,
    tasks: Mapping[str, Sequence[int]],
    cells: Sequence[str],
    gains: Mapping[Key, np.ndarray],
) -> None:
    """Draws a heat map per task and length: the gain of each trick, mean ± sd over the seeds.

    Args:
      path: the PNG to write.
      tasks: the lengths of each task.
      cells: names of cells, the columns.
      gains: the increase of "learned" over plain, fractions [seeds]; no key where a trick does not
        apply.
    """
    tricks = [trick for trick in _tricks(gains) if trick != "plain"]
    columns = max(len(lengths) for lengths in tasks.values())
    figure, axes = _panels(len(tasks), columns, (3.6, 2.9))
    image = None
    for row, (task, lengths) in zip(axes, tasks.items(), strict=True):
        for axis in row[len(lengths) :]:
            axis.set_axis_off()
        for axis, length in zip(row, lengths, strict=False):
            rows = [[gains.get((task, length, c, t)) for c in cells] for t in tricks]
            means = [[np.nan if x is None else 100 * x.mean() for x in line] for line in rows]
            image = axis.imshow(means, cmap="RdBu", vmin=-60, vmax=60, aspect="auto")
            for (y, x), mean in np.ndenumerate(np.array(means)):
                gain = rows[y][x]
                text = "–" if gain is None else describe_gain(gain)
                color = "white" if abs(mean) > 40 else "black"
                axis.text(x, y, text, ha="center", va="center", fontsize=8, color=color)
            axis.set_xticks(range(len(cells)), map(cell_title, cells))
            axis.set_yticks(range(len(tricks)), tricks)
            axis.set_title(task_title(task, length), fontsize=10)
            axis.tick_params(length=0)
    for row in axes:
        row[0].set_ylabel("trick")
    for axis in axes[-1]:
        axis.set_xlabel("cell")
    label = "gain in “learned” over plain, percentage points"
    figure.colorbar(image, ax=axes, extend="both", shrink=0.5, label=label)
    write_figure(path, figure)


def plot_flows(
    path: Path,
    title: str,
    cells: Sequence[str],
    flows: Mapping[tuple[str, str], Sequence[np.ndarray]],
) -> None:
    """Plots gradient norms by the steps back in time: one row before and one after training.

    Args:
      path: the PNG to write.
      title: of the figure.
      cells: names of cells, the columns.
      flows: per (cell, trick) the profiles before and after training, each [seeds, T'], NaN past
        T. The geometric mean over the seeds is drawn.
    """
    figure, axes = _panels(2, len(cells), (3.6, 2.8), sharey=True, sharex=True)
    tricks = _tricks(flows)
    styles = line_styles(tricks)
    for column, cell in enumerate(cells):
        for row, when in enumerate(("untrained", "trained")):
            axis = axes[row, column]
            for trick in tricks:
                if (cell, trick) not in flows:
                    continue
                mean = gradient_flow.geometric_mean(flows[cell, trick][row])
                style = styles[trick] | {"lw": 2.2 if trick == "plain" else 1.3, "ms": 4}
                gradient_flow.draw_profile(axis, mean, label=trick, **style)
            gradient_flow.format_axis(axis)
            axis.set_title(f"{cell_title(cell)}, {when}")
    for axis in axes[-1]:
        axis.set_xlabel(gradient_flow.STEPS_LABEL)
    for axis in axes[:, 0]:
        axis.set_ylabel(gradient_flow.NORM_LABEL)
    handles = {
        label: handle
        for axis in axes.flat
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    lines = [handles[trick] for trick in tricks]
    figure.legend(lines, tricks, title="trick", loc="outside right upper")
    figure.suptitle(title)
    write_figure(path, figure)


def _tricks(keys: Iterable[tuple]) -> list[str]:
    """The tricks in keys (..., trick), in the order of TRICKS."""
    found = {key[-1] for key in keys}
    return [trick for trick in TRICKS if trick in found]


def _panels(
    rows: int, columns: int, size: tuple[float, float], **share: bool
) -> tuple[Figure, Any]:
    """A figure of panels of a size in inches."""
    figure = Figure((size[0] * columns + 1.2, size[1] * rows), dpi=120, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **share)
