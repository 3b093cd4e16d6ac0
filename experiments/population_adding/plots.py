"""The figure of `experiments.population_adding`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.common.outputs import write_figure
from grujax import sweep

_COLORS = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown")


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
    for seed, (results, color) in enumerate(zip(seeds, _COLORS, strict=False)):
        for method, result in results.items():
            curve = result.metrics["error_by_round"]
            steps = updates * np.arange(1, curve.shape[1] + 1)
            style = {"color": color, "linestyle": "-" if method == "population" else ":"}
            errors.plot(steps, np.nanmin(curve, 0), label=f"{method}, seed {seed}", **style)
            best = result.best("error").trial
            line = sweep.lineage(result, best)
            schedule = result.metrics["learning_rate_by_round"][line, np.arange(len(line))]
            schedules.step(steps, schedule, where="pre", linewidth=2, **style)
        every = results["population"].metrics["learning_rate_by_round"]
        schedules.plot(steps, every.T, ".", color=color, alpha=0.15, markersize=4)
    errors.set(xlabel="updates", ylabel="held-out error, the best member's", yscale="log")
    lines = errors.get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower left", fontsize=8, ncols=2 * len(seeds))
    schedules.axhspan(*rates, color="0.95", zorder=0)
    schedules.set(xlabel="updates", ylabel="learning rate", yscale="log")
    schedules.set_title("the winner's lineage (lines), all members (dots)", fontsize=9)
    for axis in (errors, schedules):
        axis.grid(alpha=0.3)
    write_figure(path, figure)
