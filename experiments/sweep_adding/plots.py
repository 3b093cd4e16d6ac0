"""The figure of `experiments.sweep_adding`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.common.report.plots import (
    add_legend,
    error_bars,
    line_styles,
    save_figure,
)
from experiments.common.report.shares import wilson_interval


def plot_success(path: Path, solved: Mapping[str, Mapping[int, np.ndarray]]) -> None:
    """Draws success rates against the number of steps, a panel per kind of initialization.

    Args:
      path: the PNG to write.
      solved: whether each training [N] solved it, by number of steps T of each "CELL,
        initialization".
    """
    kinds = list(dict.fromkeys(name.split(", ")[1] for name in solved))
    figure = Figure((3.4 * len(kinds) + 1, 3.4), layout="constrained")
    axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axis, kind in zip(axes, kinds, strict=True):
        chosen = {n.split(", ")[0]: row for n, row in solved.items() if n.split(", ")[1] == kind}
        styles = line_styles(chosen)
        for number, (cell, row) in enumerate(chosen.items()):
            rates = [trainings.mean() for trainings in row.values()]
            intervals = [wilson_interval(x.mean(), len(x)) for x in row.values()]
            apart = np.array(list(row)) * 1.03 ** (number - 1)  # so that all bars are visible
            bars = error_bars(rates, intervals)
            axis.errorbar(apart, rates, bars, label=cell, capsize=3, elinewidth=1, **styles[cell])
        steps = sorted({step for row in chosen.values() for step in row})
        axis.set_xscale("log")
        axis.set_xticks(steps, [str(step) for step in steps])
        axis.minorticks_off()
        axis.set(xlabel="steps T", ylim=(-0.04, 1.04), title=f"initialization: {kind}")
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("trainings that solved it,\n95% interval")
    add_legend(figure, axes[0], "cell")
    save_figure(figure, path)
