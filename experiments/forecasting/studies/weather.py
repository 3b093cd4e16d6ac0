"""Seattle's weather, 2012 to 2015: the highest temperature of each of the next seven days.

1,461 days of temperatures, precipitation and wind. The test year is 2015, Seattle's warmest until
then. The six half-years before it are for training, and each is also left out once for validation.
"""

import io

import numpy as np
import pandas as pd

from experiments.common.data import Archive, fetch, read_member
from experiments.common.data.splits import Split
from experiments.forecasting.problem import Problem
from experiments.forecasting.rivals.ridge import harmonics, lagged, ridge
from experiments.forecasting.rivals.smoothing import exponential_smoothing

ARCHIVE = Archive(
    "vega_datasets==0.9.0",
    "vega_datasets-0.9.0-py3-none-any.whl",
    "3d7c63917be6ca9b154b565f4779a31fedce57b01b5b9d99d8a34a7608062a1d",
)
MEMBER = "vega_datasets/_data/seattle-weather.csv"
TEST = np.datetime64("2015-01-01")  # the first day of the test
HORIZON = 7  # days
YEAR = 365  # days
LAGS = 3  # days of the ridge regressions
SEASON = 2  # sines and cosines of the year in the climatology
WARM_UP = 28  # days before the first forecast, while the slow averages settle


def read_weather() -> pd.DataFrame:
    """The archive's table, by day: temp_max, temp_min (°C), precipitation (mm), wind (m/s)."""
    content = read_member(fetch(ARCHIVE), MEMBER)
    return pd.read_csv(io.BytesIO(content), parse_dates=["date"])


def make_problem(window: int) -> Problem:
    """Builds the problem; everything is fitted to the years before the test.

    The climatology is two harmonics of the year. The anomaly is the difference from it, and every
    forecast is the climatology plus a forecast of the anomaly.
    """
    table = read_weather()
    dates = table["date"].to_numpy().astype("datetime64[D]")
    fitted = np.flatnonzero(dates < TEST)
    ahead = dates[-1] + np.arange(1, HORIZON + 1)
    season = harmonics(np.concatenate([dates, ahead]), SEASON)

    def climatology(values: np.ndarray) -> np.ndarray:
        padded = np.concatenate([values, np.full(HORIZON, np.nan)])
        return ridge(season, padded[:, None], fitted, penalty=1e-6)[:, 0]

    temperature = table["temp_max"].to_numpy()
    measured = {
        "temp_max": temperature,
        "temp_min": table["temp_min"].to_numpy(),
        "precipitation": np.log1p(table["precipitation"].to_numpy()),
        "wind": np.log(table["wind"].to_numpy() + 0.5),
    }
    anomalies = {name: x - climatology(x)[: len(x)] for name, x in measured.items()}
    features = _features(anomalies, season[: len(dates)])
    features = (features - features[fitted].mean(0)) / features[fitted].std(0)

    origins = np.arange(max(window, WARM_UP) - 1, len(dates))
    days = origins[:, None] + np.arange(1, HORIZON + 1)  # [N, H]
    truth = np.concatenate([temperature, np.full(HORIZON, np.nan)])
    split, parts = _split(np.concatenate([dates, ahead])[days])
    usual = climatology(temperature)[days]
    unusual = truth[days] - usual

    def regression(*columns: np.ndarray, penalty: float = 1.0) -> np.ndarray:
        return usual + ridge(np.column_stack(columns)[origins], unusual, split.train, penalty)

    lags = [lagged(x, LAGS) for x in anomalies.values()]
    linear = regression(*lags, features[:, len(anomalies) :], penalty=100.0)
    ahead_of = np.arange(1, HORIZON + 1)
    smoothed = exponential_smoothing(anomalies["temp_max"], ahead_of, fitted)
    rivals = {
        "persistence": np.repeat(temperature[origins][:, None], HORIZON, 1),
        "the same day last year": np.where(days >= YEAR, truth[days - YEAR], np.nan),
        "climatology": usual,
        "exponential smoothing (ETS) on anomalies": usual + smoothed[origins],
        "AR(1) on anomalies": regression(anomalies["temp_max"]),
        "ridge, 3 days": regression(lags[0]),
        "ridge on the network's inputs": linear,
    }
    windows = features[origins[:, None] + np.arange(1 - window, 1)].astype(np.float32)
    names = [str(step) for step in range(1, HORIZON + 1)]
    series = np.full(len(origins), "Seattle")
    return Problem(
        names, windows, truth[days], linear, rivals, dates[origins], series, split, parts
    )


def _features(anomalies: dict[str, np.ndarray], season: np.ndarray) -> np.ndarray:
    """The networks' inputs for each day, [L, F]: the four anomalies come first."""
    high, low = anomalies["temp_max"], anomalies["temp_min"]
    slow = [
        pd.Series(values).ewm(alpha=weight, adjust=False).mean()
        for values, weight in ((high, 0.1), (high, 0.03), (low, 0.1))
    ]
    year = [season[:, 0], season[:, 1]]
    by_season = [wave * x for wave in year for x in anomalies.values()]
    return np.column_stack([*anomalies.values(), *slow, *year, *by_season])


def _split(days: np.ndarray) -> tuple[Split, np.ndarray]:
    """Splits by the forecast days [N, H]: all days of a part are in one half-year."""
    half_years = days.astype("datetime64[M]").astype(int) // 6
    first, last = half_years[:, 0], half_years[:, -1]
    before = (first == last) & (days[:, -1] < TEST)
    parts = np.where(before, first - first[0] + 1, 0)
    test = (days[:, 0] >= TEST) & (days[:, 0] < days[-1, 0])
    return Split(np.flatnonzero(before), np.flatnonzero(before), np.flatnonzero(test)), parts
