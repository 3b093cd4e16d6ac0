"""The figure of `experiments.sweep_adding`."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.common.report.plots import save_figure


def plot_success(path: Path, rates: Mapping[str, Mapping[int, float]]) -> None:
    """Draws success rates against the number of steps, a panel per kind of initialization.

    Args:
      path: the PNG to write.
      rates: the success rates by number of steps T of each "CELL, initialization".
    """
    kinds = list(dict.fromkeys(name.split(", ")[1] for name in rates))
    figure = Figure((3.6 * len(kinds), 3.4), layout="constrained")
    axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        chosen = {name: row for name, row in rates.items() if name.split(", ")[1] == kind}
        for (name, row), marker in zip(chosen.items(), "osD^v", strict=False):
            label = name.split(", ")[0]
            axis.plot(list(row), list(row.values()), f"{marker}-", label=label, alpha=0.8)
        steps = sorted({step for row in chosen.values() for step in row})
        axis.set_xscale("log")
        axis.set_xticks(steps, [str(step) for step in steps])
        axis.minorticks_off()
        axis.set(xlabel="steps T", ylim=(-0.04, 1.04), title=f"initialization: {kind}")
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("trainings that solved it")
    axes[0, 0].legend(fontsize=8)
    save_figure(figure, path)
