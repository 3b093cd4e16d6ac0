"""The comparison of forecasts on synthetic weather."""

import numpy as np
import pytest

from experiments.forecasting.comparison import ABSOLUTE, SQUARED, compare, verdict
from experiments.forecasting.studies import weather
from tests.fixtures.quantiles import normal_quantiles


@pytest.mark.parametrize("measure", [ABSOLUTE, SQUARED])
def test_the_comparison_finds_the_edge(forecast_archives, measure):
    problem = weather.make_problem(5)
    noise = np.random.default_rng(0).normal(0, 0.1, problem.targets.shape)
    good = np.where(np.isfinite(problem.targets), problem.targets, 0) + noise
    point = np.where(np.arange(7) < 3, good, problem.rivals["climatology"] + noise)
    quantiles = np.stack([point[..., None] + normal_quantiles(*point.shape)] * 2)
    comparison = compare(problem, quantiles, "GRU", measure)
    assert comparison.coverage.shape == (2, 7)
    np.testing.assert_allclose(comparison.coverage[:, :3], 1)
    assert verdict(comparison, problem.names) == (
        "Better than every rival beyond chance: 1, 2, 3; "
        "no edge over the best rival beyond chance: 4, 5, 6, 7."
    )
