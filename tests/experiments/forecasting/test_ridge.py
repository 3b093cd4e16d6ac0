"""Ridge regression and its features, against the normal equations and known values."""

import numpy as np

from experiments.forecasting.rivals.ridge import harmonics, lagged, ridge


def test_ridge_solves_the_normal_equations():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(3, 2, (80, 4)), rng.normal(1, 1, (80, 2))
    train = np.arange(60)
    targets[5, 1] = np.nan
    forecasts = ridge(features, targets, train, penalty=7.0)
    scaled = (features - features[:60].mean(0)) / features[:60].std(0)
    design = np.column_stack([np.ones(80), scaled])
    penalties = 7.0 * np.diag([0, 1, 1, 1, 1])
    for k in range(2):
        rows = train[np.isfinite(targets[:60, k])]
        gram = design[rows].T @ design[rows] + penalties
        weights = np.linalg.solve(gram, design[rows].T @ targets[rows, k])
        np.testing.assert_allclose(forecasts[:, k], design @ weights, rtol=1e-9)


def test_a_constant_feature_has_no_weight():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(30, 2)), rng.normal(size=(30, 1))
    constant = np.column_stack([features, np.full(30, 0.1)])
    train = np.arange(20)
    np.testing.assert_allclose(ridge(constant, targets, train), ridge(features, targets, train))


def test_lags_are_the_last_values():
    values = np.random.default_rng(0).normal(size=30)
    assert lagged(values, 3)[5].tolist() == values[[5, 4, 3]].tolist()
    assert np.isnan(lagged(values, 3)[:2, -1]).all()


def test_harmonics_repeat_every_year():
    dates = np.array(["2013-01-01", "2013-07-02", "2014-01-01"], "datetime64[D]")
    waves = harmonics(dates, 2)
    np.testing.assert_allclose(waves[0], [0, 1, 0, 1])
    np.testing.assert_allclose(waves[0], waves[2])
    assert abs(waves[1, 1] + 1) < 1e-3
