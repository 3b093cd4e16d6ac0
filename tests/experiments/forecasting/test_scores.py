"""Scores of forecasts, against scikit-learn and a bootstrap by loops."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from experiments.forecasting.scores import (
    describe_reduction,
    error_reduction,
    r_squared,
    share_with_interval,
)


def test_r_squared_matches_scikit_learn():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(40, 2))
    forecasts = targets + rng.normal(size=(40, 2))
    expected = r2_score(targets, forecasts, multioutput="raw_values")
    np.testing.assert_allclose(r_squared(forecasts, targets, targets.mean(0)), expected)


def test_the_bootstrap_draws_whole_blocks_of_times():
    rng = np.random.default_rng(0)
    times = np.repeat(np.arange(60), 2)  # two series
    errors, rival = rng.uniform(0, 1, (120, 1)), rng.uniform(0, 1.5, (120, 1))
    errors[3] = rival[3] = np.nan
    block = 7
    reduction = error_reduction(errors, rival, times, block, seed=1)[:, 0]
    starts = np.random.default_rng(1).integers(60, size=(2000, 9))
    shares = []
    for row in starts:
        drawn = [time for start in row for time in (start + np.arange(block)) % 60]
        both = [np.nansum([x[2 * t : 2 * t + 2].sum() if t != 1 else np.nansum(x[2:4])
                           for t in drawn]) for x in (errors, rival)]  # fmt: skip
        shares.append(1 - both[0] / both[1])
    assert reduction[0] == pytest.approx(1 - np.nansum(errors) / np.nansum(rival))
    np.testing.assert_allclose(reduction[1:], np.percentile(shares, [2.5, 97.5]), rtol=1e-9)


def test_a_share_is_inside_of_its_interval():
    values = np.random.default_rng(0).integers(0, 2, (200, 1)).astype(float)
    share, low, high = share_with_interval(values, np.ones((200, 1)), np.arange(200), 1)[:, 0]
    assert share == pytest.approx(values.mean())
    assert share - low == pytest.approx(1.96 * (share * (1 - share) / 200) ** 0.5, rel=0.15)
    assert high - share == pytest.approx(share - low, rel=0.15)


def test_equal_forecasts_have_no_edge():
    errors = np.random.default_rng(0).uniform(size=(50, 1))
    reduction = error_reduction(errors, errors, np.arange(50), 5)[:, 0]
    assert reduction.tolist() == [0, 0, 0]
    assert describe_reduction(reduction) == "0.0 (0.0 to 0.0)  "
    assert describe_reduction(np.array([0.031, 0.01, 0.052])) == "3.1 (1.0 to 5.2) *"
    assert describe_reduction(np.array([0.01, -0.01, 0.03])) == "1.0 (-1.0 to 3.0)  "
