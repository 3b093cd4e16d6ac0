"""The problems of the built-in studies, on synthetic data."""

import numpy as np
import pandas as pd
import pytest

from experiments.forecasting.studies import stocks, traffic, weather


def test_the_weather_problem(forecast_archives):
    problem = weather.make_problem(14)
    table = weather.read_weather()
    temperature, last = table["temp_max"].to_numpy(), len(table) - 1
    first = int(np.flatnonzero(table["date"] == pd.Timestamp(problem.origins[0]))[0])
    np.testing.assert_array_equal(problem.targets[0], temperature[first + 1 : first + 8])
    assert problem.origins[-1] == np.datetime64("2015-12-31")
    assert np.isnan(problem.targets[-1]).all()
    np.testing.assert_array_equal(problem.rivals["persistence"][-1], temperature[last])
    # The targets of a part are in one half-year.
    days = problem.origins[:, None] + np.arange(1, 8)
    before = days[problem.parts > 0].astype("datetime64[M]").astype(int) // 6 - 84
    assert np.all(before + 1 == problem.parts[problem.parts > 0][:, None])
    assert set(problem.parts) == set(range(7))
    test = days[problem.split.test]
    assert test.min() == weather.TEST
    assert len(test) == 365
    # Anomalies persist: a regression on them beats both the climatology and persistence.
    errors = {
        name: np.nanmean(abs(forecast - problem.targets)[problem.split.test, 0])
        for name, forecast in problem.rivals.items()
    }
    assert errors["AR(1) on anomalies"] < min(errors["climatology"], errors["persistence"])


def _dates(study, table: pd.DataFrame) -> pd.Series | pd.Index:
    return table.index if study is traffic else table["date" if study is weather else "Date"]


CHANGED = {
    weather: ("read_weather", ["temp_max", "temp_min"]),
    stocks: ("read_prices", ["High", "Close", "Adj Close"]),
    traffic: ("read_traffic", ["traffic_volume", "temp"]),
}


@pytest.mark.parametrize("study", CHANGED)
def test_forecasts_do_not_depend_on_the_future(forecast_archives, monkeypatch, study):
    """Other values in the test period do not change any forecast before it."""
    problem = study.make_problem(14)
    name, columns = CHANGED[study]
    read = getattr(study, name)

    def changed():
        table = read()
        table.loc[_dates(study, table) >= study.TEST, columns] *= 1.5
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


def test_the_traffic_problem(forecast_archives):
    problem = traffic.make_problem(24)
    volume = traffic.read_traffic()["traffic_volume"]
    for row in (0, 500):
        later = problem.origins[row] + traffic.HORIZONS.astype("timedelta64[h]")
        np.testing.assert_array_equal(problem.targets[row], volume[later])
        week_before = later - np.timedelta64(168, "h")
        np.testing.assert_array_equal(
            problem.rivals["the same hour last week"][row], volume[week_before]
        )
    assert volume.isna().sum() == 0
    # The origin and the last target of a part are in one quarter; none reaches into the test.
    for part in set(problem.parts) - {0}:
        origins = problem.origins[problem.parts == part]
        ends = np.array([origins.min(), origins.max() + np.timedelta64(24, "h")])
        assert len(set(ends.astype("datetime64[M]").astype(int) // 3)) == 1
        assert ends[-1] < traffic.TEST
    assert problem.origins[problem.split.test].min() == traffic.TEST
    assert np.isfinite(problem.targets[problem.split.test]).all()
    assert np.isfinite(problem.inputs).all()
    # Anomalies persist: a regression on them beats what is usual an hour ahead.
    errors = {
        name: np.nanmean(abs(forecast - problem.targets)[problem.split.test, 0])
        for name, forecast in problem.rivals.items()
    }
    assert errors["ridge, 24 hours"] < errors["the usual hour of the week"]


def test_the_stock_problem(forecast_archives):
    problem = stocks.make_problem(10)
    prices = stocks.read_prices()
    row = problem.split.test[5]
    stock = prices[prices["Ticker"] == problem.series[row]].reset_index(drop=True)
    row_in_stock = int(np.flatnonzero(stock["Date"] == problem.origins[row])[0])
    log = np.log(stock["Close"].to_numpy())
    ahead = np.diff(log)[row_in_stock : row_in_stock + 5]
    expected = [
        np.log(np.log(stock["High"][row_in_stock + 1] / stock["Low"][row_in_stock + 1])),
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


def test_the_exponential_mean_is_the_recursion():
    values = np.random.default_rng(0).normal(size=30)
    expected = [values[0]]
    for value in values[1:]:
        expected.append(expected[-1] + 0.1 * (value - expected[-1]))
    np.testing.assert_allclose(stocks.exponential_mean(pd.Series(values), 0.1), expected)
