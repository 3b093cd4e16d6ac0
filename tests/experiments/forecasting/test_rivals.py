"""Exponential smoothing and boosted trees, against their libraries and known functions."""

import numpy as np
import pytest
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from experiments.common.data.splits import Split
from experiments.forecasting.rivals.boosting import gradient_boosting
from experiments.forecasting.rivals.smoothing import exponential_smoothing


@pytest.mark.parametrize("season", [None, 7])
def test_smoothing_forecasts_as_its_library_does(season):
    """One step ahead in the fitted part, and several steps ahead at its end."""
    rng = np.random.default_rng(0)
    values = 10 + np.sin(2 * np.pi * np.arange(90) / 7) + np.cumsum(rng.normal(0, 0.2, 90))
    fitted, horizons = np.arange(84), np.arange(1, 10)
    forecasts = exponential_smoothing(values, horizons, fitted, season)
    kind = {"seasonal": "add", "seasonal_periods": season} if season else {}
    fit = ETSModel(values[fitted], initialization_method="heuristic", **kind).fit(disp=False)
    np.testing.assert_allclose(forecasts[:83, 0], fit.fittedvalues[1:], rtol=1e-9)
    np.testing.assert_allclose(forecasts[83], fit.forecast(9), rtol=1e-9)


def test_smoothing_knows_no_later_value():
    values = np.random.default_rng(1).normal(size=60)
    changed = np.where(np.arange(60) < 50, values, 9.0)
    both = [exponential_smoothing(x, np.array([1, 2]), np.arange(40)) for x in (values, changed)]
    np.testing.assert_array_equal(both[0][:50], both[1][:50])
    assert np.all(both[0][50:] != both[1][50:])


def test_boosting_finds_what_a_line_cannot():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(600, 2))
    targets = features[:, :1] * features[:, 1:]
    targets[5] = np.nan
    split = Split(np.arange(500), np.arange(500), np.arange(500, 600))
    forecasts = gradient_boosting(features, targets, split)
    error = np.abs(forecasts - targets)[split.test].mean()
    assert error < 0.5 * np.abs(targets[split.test]).mean()  # 0 is the best line
    assert forecasts.shape == targets.shape
