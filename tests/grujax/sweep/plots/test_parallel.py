"""Parallel coordinates have a line for each trial, the best one on top."""

import numpy as np

from grujax.sweep import SweepResult, plot_parallel
from grujax.sweep.plots.axes import BEST


def test_a_line_for_each_trial_and_the_best_on_top():
    losses = np.array([3.0, np.nan, 1.0, 2.0])
    trials = {"rate": np.array([1.0, 2.0, 3.0, 5.0]), "cell": np.array(["a", "b", "a", "b"])}
    result = SweepResult(trials, {"loss": losses}, np.isnan(losses))
    axis = plot_parallel(result, "loss").axes[0]
    lines = [line for line in axis.lines if len(line.get_xdata()) == 3]
    assert len(lines) == 5
    assert lines[-1].get_color() == BEST
    np.testing.assert_allclose(lines[-1].get_ydata(), [0.5, 0.0, 0.0])
    worst = plot_parallel(result, "loss", mode="max").axes[0]
    labels = [text.get_text() for text in worst.get_legend().get_texts()]
    assert labels == ["best: trial 0", "diverged: 1"]
