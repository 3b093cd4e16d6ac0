"""The report of `experiments.memory_rl`: returns of agents, as a table and as curves."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.common.report import format_table
from experiments.common.report.intervals import interval
from experiments.common.report.plots import (
    CELLS,
    GRAY,
    add_legend,
    cell_title,
    line_styles,
    save_figure,
)

HEADER = ["", "parameters", "return while learning", "return", "worst seed", "steps/s"]


class Result(NamedTuple):
    """The agents of one core, S seeds of them."""

    name: str
    curves: np.ndarray  # [E, S], the mean return of the episodes of each epoch
    returns: np.ndarray  # [S], the mean return of new episodes with the most likely actions
    parameters: int
    steps_per_epoch: int  # of the environments, of one seed
    seconds: float  # per epoch, of all seeds


def mean_and_interval(values: np.ndarray) -> str:
    """The mean, and its 95% interval if there are several values; [S]."""
    mean = f"{values.mean():.3f}"
    return mean if len(values) == 1 else f"{mean} ± {interval(values):.3f}"


def describe(result: Result) -> list[str]:
    """A row of the table, see HEADER."""
    speed = result.steps_per_epoch * len(result.returns) / result.seconds
    return [
        result.name,
        f"{result.parameters:,}",
        mean_and_interval(result.curves[-1]),
        mean_and_interval(result.returns),
        f"{result.returns.min():.3f}",
        f"{speed:,.0f}",
    ]


def make_table(results: list[Result], chance: float, optimum: float | None) -> str:
    """The table of all cores, with the return of random actions and the best possible one."""
    rows = [describe(result) for result in results]
    rows.append(["random actions", "", "", f"{chance:.3f}", "", ""])
    if optimum is not None:
        rows.append(["optimum", "", "", f"{optimum:.3f}", "", ""])
    return format_table(HEADER, rows)


def plot_returns(path: Path, results: list[Result], optimum: float | None) -> None:
    """Draws the mean return while learning, and its 95% interval over the seeds."""
    figure = Figure((6.5, 3.6), layout="constrained")
    axis = figure.subplots()
    styles = line_styles(result.name for result in results)
    for result in results:
        steps = result.steps_per_epoch * np.arange(1, len(result.curves) + 1) / 1e6
        mean, half = result.curves.mean(axis=1), interval(result.curves)
        style = styles[result.name]
        every = max(1, len(mean) // 8)
        axis.plot(steps, mean, label=label_of(result.name), markevery=every, **style)
        band = {"color": style["color"], "alpha": 0.2, "lw": 0}
        axis.fill_between(steps, mean - half, mean + half, **band)
    if optimum is not None:
        axis.axhline(optimum, color=GRAY, linestyle=":", label="optimum")
    label = "mean return per episode,\nband: 95% interval over seeds"
    axis.set(xlabel="steps of the environment, millions", ylabel=label)
    axis.grid(alpha=0.3)
    add_legend(figure, axis, "core of the agent")
    save_figure(figure, path)


def plot_lengths(path: Path, returns: Mapping[str, Mapping[int, np.ndarray]]) -> None:
    """Draws the return of each core against the length of the memory; returns: [S] each."""
    figure = Figure((5.5, 3.6), layout="constrained")
    axis = figure.subplots()
    styles = line_styles(returns)
    for name, by_length in returns.items():
        means = [values.mean() for values in by_length.values()]
        halves = [interval(values) for values in by_length.values()]
        style = styles[name] | {"capsize": 3, "elinewidth": 1}
        axis.errorbar(list(by_length), means, halves, label=label_of(name), **style)
    label = "mean return per episode,\n95% interval over seeds"
    axis.set(xlabel="steps between cue and question", ylabel=label, ylim=(-0.6, 1.1))
    axis.set_xscale("log", base=2)
    lengths = sorted({length for by_length in returns.values() for length in by_length})
    axis.set_xticks(lengths, [str(length) for length in lengths])
    axis.grid(alpha=0.3)
    add_legend(figure, axis, "core of the agent")
    save_figure(figure, path)


def label_of(core: str) -> str:
    """The name of a core in a figure."""
    return cell_title(core) if core in CELLS else core
