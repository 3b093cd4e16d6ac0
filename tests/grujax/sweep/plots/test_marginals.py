"""Marginal curves show the median of each bin, with an interval that holds what it says."""

import numpy as np
import pytest
from scipy.stats import binom

from grujax.sweep import SweepResult, plot_marginals
from grujax.sweep.plots.axes import BEST, MEDIAN
from grujax.sweep.plots.marginals import median_interval


@pytest.mark.parametrize("count", [6, 7, 9, 17, 60, 2000])
def test_the_interval_is_the_narrowest_that_holds_95_percent(count):
    median, lower, upper = median_interval(np.arange(count)[::-1])
    assert median == (count - 1) / 2
    assert upper == count - 1 - lower
    assert 2 * binom.cdf(lower, count, 0.5) <= 0.05 < 2 * binom.cdf(lower + 1, count, 0.5)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_of_few_values_it_is_the_range(count):
    assert median_interval(np.arange(count))[1:] == (0, count - 1)


def make_result(**trials) -> SweepResult:
    losses = np.random.default_rng(0).uniform(1, 2, 60)
    losses[7] = np.nan
    arrays = {name: np.asarray(values) for name, values in trials.items()}
    return SweepResult(arrays, {"loss": losses}, np.isnan(losses))


def test_many_values_are_cut_into_bins_and_few_are_not():
    few, names = np.tile([1.0, 2.0, 4.0], 20), np.tile(["gru", "lstm"], 30)
    result = make_result(many=np.linspace(0, 1, 60), few=few, names=names)
    figure = plot_marginals(result, "loss")
    losses = result.metrics["loss"]
    medians = {
        axis.get_xlabel(): next(line for line in axis.lines if line.get_color() == MEDIAN)
        for axis in figure.axes
    }
    assert len(medians["many"].get_xdata()) == 8
    for name, array in (("few", few), ("names", names)):
        expected = [np.nanmedian(losses[array == value]) for value in np.unique(array)]
        np.testing.assert_allclose(medians[name].get_ydata(), expected)
    assert len(figure.axes[0].collections) == 1  # the band
    best = [line for line in figure.axes[0].lines if line.get_color() == BEST]
    assert best[0].get_ydata()[0] == np.nanmin(losses)


@pytest.mark.filterwarnings("error")
def test_values_of_any_kind_are_drawn():
    for values in ([1.0, np.inf, np.nan], [0.0, 0.0, 0.0], [-1.0, 1e300, 3.0]):
        trials = {"a": np.array([1.0, np.nan, 3.0]), "b": np.array([True, False, True])}
        metrics = {"loss": np.array(values)}
        result = SweepResult(trials, metrics, np.isnan(metrics["loss"]))
        plot_marginals(result, "loss").draw_without_rendering()


def test_a_result_without_hyperparameters_is_refused():
    result = SweepResult({}, {"loss": np.ones(3)}, np.zeros(3, bool))
    with pytest.raises(ValueError, match="`result` has no hyperparameters"):
        plot_marginals(result, "loss")
