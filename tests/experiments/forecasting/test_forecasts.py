"""Quantiles, linear forecasts, scores and the two built-in problems, beside other ways to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_pinball_loss, r2_score

from experiments.forecasting import model as forecaster
from experiments.forecasting import stocks, weather
from experiments.forecasting.comparison import ABSOLUTE, SQUARED, compare, verdict
from experiments.forecasting.linear import exponential_average, harmonics, lagged, ridge
from experiments.forecasting.quantiles import (
    LEVELS,
    conformal_margin,
    coverage,
    mean,
    ordered_quantiles,
    pinball_loss,
    widened,
)
from experiments.forecasting.scores import describe_reduction, error_reduction, r_squared


def normal_quantiles(*shape: int) -> np.ndarray:
    return np.broadcast_to(norm.ppf(LEVELS), (*shape, len(LEVELS))).copy()


def test_the_pinball_loss_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    quantiles, targets = rng.normal(size=(50, 5)), rng.normal(size=50)
    expected = np.mean(
        [mean_pinball_loss(targets, q, alpha=a) for q, a in zip(quantiles.T, LEVELS, strict=True)]
    )
    np.testing.assert_allclose(pinball_loss(quantiles, targets).mean(), expected, rtol=1e-5)


def test_the_true_quantiles_have_the_least_pinball_loss():
    targets = np.random.default_rng(0).normal(size=20_000)
    losses = [
        float(pinball_loss(normal_quantiles(1) * width + shift, targets).mean())
        for width, shift in ((1, 0), (1.3, 0), (0.7, 0), (1, 0.3))
    ]
    assert np.argmin(losses) == 0


@given(arrays(np.float32, (4, 5), elements=st.floats(-50, 50, width=32)))
def test_quantiles_do_not_cross(raw):
    quantiles = np.asarray(ordered_quantiles(jnp.asarray(raw)))
    assert np.all(np.diff(quantiles, axis=-1) >= 0)
    np.testing.assert_array_equal(quantiles[..., 2], raw[..., 2])


def test_zeros_are_the_normal_distribution():
    quantiles = ordered_quantiles(jnp.zeros((3, 5)))
    np.testing.assert_allclose(quantiles, normal_quantiles(3), atol=1e-6)
    assert abs(mean(np.asarray(quantiles))).max() < 1e-6


def test_coverage_and_its_mending():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(999, 2)) * [1, 3]
    targets[::7, 0] = np.nan
    quantiles = normal_quantiles(999, 2)
    held = coverage(quantiles, targets)
    known = targets[np.isfinite(targets[:, 0]), 0]
    np.testing.assert_allclose(held[0], np.mean(abs(known) <= norm.ppf(0.9)))
    margin = conformal_margin(quantiles, targets)
    assert abs(margin[0]) < 0.15
    np.testing.assert_allclose(coverage(widened(quantiles, margin), targets), 0.8, atol=2e-3)
    narrow = widened(quantiles, np.full(2, -9.0))
    np.testing.assert_array_equal(narrow[..., 0], quantiles[..., 1])
    np.testing.assert_array_equal(narrow[..., -1], quantiles[..., -2])


def test_ridge_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    features, targets = rng.normal(3, 2, (80, 4)), rng.normal(1, 1, (80, 2))
    train = np.arange(60)
    targets[5, 1] = np.nan
    forecasts = ridge(features, targets, train, penalty=7.0)
    scaled = (features - features[:60].mean(0)) / features[:60].std(0)
    for k in range(2):
        rows = train[np.isfinite(targets[:60, k])]
        oracle = Ridge(alpha=7.0).fit(scaled[rows] - scaled[rows].mean(0), targets[rows, k])
        expected = oracle.predict(scaled - scaled[rows].mean(0))
        np.testing.assert_allclose(forecasts[:, k], expected, rtol=1e-2 if k else 1e-6)


def test_averages_lags_and_seasons():
    values = np.random.default_rng(0).normal(size=30)
    expected = pd.Series(values).ewm(alpha=0.1, adjust=False).mean()
    np.testing.assert_allclose(exponential_average(values, 0.1), expected)
    assert lagged(values, 3)[5].tolist() == values[[5, 4, 3]].tolist()
    assert np.isnan(lagged(values, 3)[:2, -1]).all()
    dates = np.array(["2013-01-01", "2013-07-02", "2014-01-01"], "datetime64[D]")
    waves = harmonics(dates, 2)
    np.testing.assert_allclose(waves[0], [0, 1, 0, 1])
    np.testing.assert_allclose(waves[0], waves[2])
    assert abs(waves[1, 1] + 1) < 1e-3


def test_r_squared_is_that_of_scikit_learn():
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


def test_equal_forecasts_have_no_edge():
    errors = np.random.default_rng(0).uniform(size=(50, 1))
    reduction = error_reduction(errors, errors, np.arange(50), 5)[:, 0]
    assert reduction.tolist() == [0, 0, 0]
    assert describe_reduction(reduction) == "0.0 (0.0 to 0.0)  "
    assert describe_reduction(np.array([0.031, 0.01, 0.052])) == "3.1 (1.0 to 5.2) *"
    assert describe_reduction(np.array([0.01, -0.01, 0.03])) == "1.0 (-1.0 to 3.0)  "


def test_the_weather_problem(forecast_archives):
    problem = weather.make_problem(14)
    table = weather.read_weather()
    temperature, last = table["temp_max"].to_numpy(), len(table) - 1
    first = int(np.flatnonzero(table["date"] == pd.Timestamp(problem.origins[0]))[0])
    np.testing.assert_array_equal(problem.targets[0], temperature[first + 1 : first + 8])
    assert problem.origins[-1] == np.datetime64("2015-12-31")
    assert np.isnan(problem.targets[-1]).all()
    np.testing.assert_array_equal(problem.rivals["persistence"][-1], temperature[last])
    # A part's targets lie in its own half-year.
    days = problem.origins[:, None] + np.arange(1, 8)
    before = days[problem.parts > 0].astype("datetime64[M]").astype(int) // 6 - 84
    assert np.all(before + 1 == problem.parts[problem.parts > 0][:, None])
    assert set(problem.parts) == set(range(7))
    test = days[problem.split.test]
    assert test.min() == weather.TEST
    assert len(test) == 365
    # Anomalies that last: a regression on them beats both the climatology and persistence.
    errors = {
        name: np.nanmean(abs(forecast - problem.targets)[problem.split.test, 0])
        for name, forecast in problem.rivals.items()
    }
    assert errors["AR(1) on anomalies"] < min(errors["climatology"], errors["persistence"])


@pytest.mark.parametrize("study", [weather, stocks])
def test_forecasts_do_not_know_what_comes(forecast_archives, monkeypatch, study):
    """Other values in the test period leave all that was forecast before it as it was."""
    problem = study.make_problem(14)
    name = "read_weather" if study is weather else "read_prices"
    read = getattr(study, name)

    def changed():
        table = read()
        dates = table["date" if study is weather else "Date"]
        columns = ["temp_max", "temp_min"] if study is weather else ["High", "Close", "Adj Close"]
        table.loc[dates >= study.TEST, columns] *= 1.5
        return table

    monkeypatch.setattr(study, name, changed)
    other = study.make_problem(14)
    before = problem.origins < study.TEST
    for field in ("inputs", "linear"):
        np.testing.assert_array_equal(
            getattr(problem, field)[before], getattr(other, field)[before]
        )
    for rival, forecasts in problem.rivals.items():
        np.testing.assert_array_equal(forecasts[before], other.rivals[rival][before])
    assert np.any(problem.linear[~before] != other.linear[~before])


def test_the_stock_problem(forecast_archives):
    problem = stocks.make_problem(10)
    prices = stocks.read_prices()
    row = problem.split.test[5]
    own = prices[prices["Ticker"] == problem.series[row]].reset_index(drop=True)
    place = int(np.flatnonzero(own["Date"] == problem.origins[row])[0])
    log = np.log(own["Close"].to_numpy())
    ahead = np.diff(log)[place : place + 5]
    expected = [
        np.log(np.log(own["High"][place + 1] / own["Low"][place + 1])),
        np.log(np.sqrt(np.mean(ahead**2))),
        100 * ahead[0],
    ]
    np.testing.assert_allclose(problem.targets[row], expected, rtol=1e-6)
    assert set(problem.series[problem.split.train]) == {"AAPL"}
    assert set(problem.series[problem.split.test]) == {"AAPL", "FB"}
    starts = [problem.origins[problem.series == name].min() for name in ("AAPL", "FB")]
    first = prices.groupby("Ticker")["Date"].nth(stocks.WARM_UP + 10 - 2)
    assert starts == first.tolist()
    train, validation, test = (problem.origins[rows] for rows in problem.split)
    assert train.max() < stocks.VALIDATION - np.timedelta64(6, "D")
    assert validation.max() < stocks.TEST - np.timedelta64(6, "D")
    assert test.min() >= validation.max()
    assert problem.linear[:, 2].tolist() == [0.0] * len(problem.linear)


def test_an_untrained_network_says_what_the_linear_forecast_says(forecast_archives):
    problem = weather.make_problem(5)
    model = forecaster.Forecaster(7, 4, 0.2)
    inputs = jnp.asarray(problem.inputs[:300])
    params = jax.vmap(lambda key: model.init(key, inputs[:1], False))(
        jax.random.split(jax.random.key(0), 2)
    )
    outputs = forecaster.ensemble(model, params, inputs)
    assert outputs.shape == (300, 2, 7, 5)
    np.testing.assert_allclose(outputs, normal_quantiles(300, 2, 7), atol=1e-5)
    everything = np.resize(np.asarray(outputs), (len(problem.inputs), 6, 7, 5))
    quantiles = forecaster.calibrated_quantiles(problem, everything)
    np.testing.assert_allclose(quantiles[..., 2], problem.linear, atol=1e-3)
    assert np.all(np.diff(quantiles, axis=-1) >= 0)
    held = coverage(quantiles[problem.split.validation], problem.targets[problem.split.validation])
    np.testing.assert_allclose(held, 0.8, atol=0.02)


@pytest.mark.parametrize("measure", [ABSOLUTE, SQUARED])
def test_a_comparison_says_where_there_is_an_edge(forecast_archives, measure):
    problem = weather.make_problem(5)
    noise = np.random.default_rng(0).normal(0, 0.1, problem.targets.shape)
    good = np.where(np.isfinite(problem.targets), problem.targets, 0) + noise
    point = np.where(np.arange(7) < 3, good, problem.rivals["climatology"] + noise)
    quantiles = np.stack([point[..., None] + normal_quantiles(*point.shape)] * 2)
    comparison = compare(problem, quantiles, measure)
    assert comparison.coverage.shape == (2, 7)
    np.testing.assert_allclose(comparison.coverage[:, :3], 1)
    assert verdict(comparison, problem.names) == (
        "Better than every rival by more than chance: 1, 2, 3; "
        "no edge over the best rival beyond chance: 4, 5, 6, 7."
    )


def test_networks_take_turns_in_leaving_out_parts():
    left_out = forecaster.left_out_parts(5, 3)
    assert left_out.tolist() == [1, 2, 3, 1, 2]
    with pytest.raises(ValueError, match="`members` is 2; there are 3 parts"):
        forecaster.left_out_parts(2, 3)
    outputs = np.random.default_rng(0).normal(size=(4, 5, 2, 3))
    parts = np.array([1, 3, 2, 1])
    unseen = forecaster.mean_of_unseen(outputs, parts, left_out)
    for row, members in enumerate(([0, 3], [2], [1, 4], [0, 3])):
        np.testing.assert_allclose(unseen[row], outputs[row, members].mean(0))


def test_the_loss_leaves_out_a_part_and_what_is_not_known():
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.normal(size=(6, 2, 5)))
    error = rng.normal(size=(6, 2))
    known = np.ones((6, 2))
    known[1, 0] = 0
    examples = {"error": error, "known": known, "part": np.array([0, 1, 2, 2, 1, 0])}
    losses = np.asarray(pinball_loss(quantiles, error))
    kept = [losses[i, k] for i in (0, 1, 4, 5) for k in range(2) if (i, k) != (1, 0)]
    loss = forecaster.mean_pinball_loss(quantiles, examples, jnp.int32(2))
    np.testing.assert_allclose(loss, np.mean(kept), rtol=1e-6)
    whole = forecaster.mean_pinball_loss(quantiles, examples)
    np.testing.assert_allclose(whole, losses[known > 0].mean(), rtol=1e-6)
