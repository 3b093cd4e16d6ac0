"""The figure of `experiments.population_adding`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.common.outputs import write_figure
from experiments.common.report.plots import PALETTE, add_legend
from grujax import sweep

MARKERS = "osD^v"  # of the seeds


def plot_populations(
    path: Path,
    seeds: Sequence[Mapping[str, sweep.PopulationResult]],
    updates: int,
    rates: tuple[float, float],
) -> None:
    """Plots both methods' errors against updates, and the learning rates of the winners' lineages.

    Args:
      path: the PNG to write.
      seeds: for each seed the results of "random" and "population".
      updates: optimizer steps per round.
      rates: the range of the initial learning rates, which is shaded.
    """
    figure = Figure(figsize=(11, 4.1), dpi=120, layout="constrained")
    errors, schedules = figure.subplots(1, 2)
    for seed, (results, color) in enumerate(zip(seeds, PALETTE, strict=False)):
        for method, result in results.items():
            curve = result.metrics["error_by_round"]
            steps = updates * np.arange(1, curve.shape[1] + 1)
            style = {"color": color, "linestyle": "-" if method == "population" else ":"}
            marks = {"marker": MARKERS[seed % len(MARKERS)], "ms": 4}
            label = f"{method}, seed {seed}"
            errors.plot(steps, np.nanmin(curve, 0), label=label, **style, **marks)
            best = result.best("error").trial
            line = sweep.lineage(result, best)
            schedule = result.metrics["learning_rate_by_round"][line, np.arange(len(line))]
            schedules.step(steps, schedule, where="pre", linewidth=2, **style)
        every = results["population"].metrics["learning_rate_by_round"]
        schedules.plot(steps, every.T, ".", color=color, alpha=0.15, markersize=4)
    label = "mean squared error on held-out data,\nthe best member's"
    errors.set(xlabel="updates", ylabel=label, yscale="log")
    add_legend(figure, errors, "search", columns=len(seeds))
    schedules.axhspan(*rates, color="0.95", zorder=0)
    schedules.set(xlabel="updates", ylabel="learning rate", yscale="log")
    title = "lines: the winner's lineage; dots: all members; gray: the range of the start"
    schedules.set_title(title, fontsize=9)
    for axis in (errors, schedules):
        axis.grid(alpha=0.3)
    write_figure(path, figure)
