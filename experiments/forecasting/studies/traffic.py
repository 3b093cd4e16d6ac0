"""Traffic on a motorway, hour by hour: vehicles from 1 to 24 hours ahead.

17,520 hours of the westbound I-94 between Minneapolis and St Paul, October 2016 to September 2018,
with the weather (Minnesota Department of Transportation and OpenWeatherMap, by way of the UCI
archive's "Metro Interstate Traffic Volume"). The last six months are the test. The six quarters
before them are for training, and each is also left out once for validation.
"""

import io
import zipfile

import numpy as np
import pandas as pd
from pandas.tseries.holiday import USFederalHolidayCalendar

from experiments.common.data import Archive, fetch, read_member
from experiments.common.data.splits import Split
from experiments.forecasting.problem import Problem
from experiments.forecasting.rivals.boosting import gradient_boosting
from experiments.forecasting.rivals.ridge import lagged, ridge
from experiments.forecasting.rivals.smoothing import exponential_smoothing

ARCHIVE = Archive(
    "autots==1.0.4",
    "autots-1.0.4-py3-none-any.whl",
    "aa19ca3b5f57aeddd1b8ae4ebf7f4bed3bc0b093ed56193fb461c7cb3910f716",
)
MEMBER = "autots/datasets/data/traffic_hourly.zip"
TEST = np.datetime64("2018-04-01")  # the first hour of the test
HORIZONS = np.array([1, 2, 3, 6, 12, 24])  # hours ahead
WEEK = 168  # hours
LAGS = 24  # hours of the ridge regressions
RUSH = 4  # sines and cosines of the day by which the last hours are weighted


def read_traffic() -> pd.DataFrame:
    """The archive's table by hour; a missing hour has the values of the one before."""
    with zipfile.ZipFile(io.BytesIO(read_member(fetch(ARCHIVE), MEMBER))) as archive:
        [name] = archive.namelist()
        table = pd.read_csv(archive.open(name), parse_dates=["datetime"], index_col="datetime")
    return table.ffill()


def make_problem(window: int) -> Problem:
    """Builds the problem; everything is fitted to the months before the test.

    What is usual is the median of the hour of the week. Every forecast is that plus a forecast of
    the difference from it, the anomaly.
    """
    table = read_traffic()
    hours = table.index.to_numpy()
    volume = table["traffic_volume"].to_numpy()
    fitted = np.flatnonzero(hours < TEST)
    of_week = (hours.astype("datetime64[h]").astype(int) + 4 * 24) % WEEK  # 0 is Monday, 0:00
    later = np.arange(len(hours))[:, None] + HORIZONS  # [L, K]
    by_hour = pd.Series(volume[fitted]).groupby(of_week[fitted]).median().to_numpy()
    usual = by_hour[of_week]
    usual_later = by_hour[(of_week[:, None] + HORIZONS) % WEEK]
    anomaly = (volume - usual) / np.std((volume - usual)[fitted])
    truth = np.concatenate([volume, np.full(HORIZONS[-1], np.nan)])[later]

    free = _free_days(hours, HORIZONS[-1])
    waves = _waves(of_week)
    weather = _weather(table)
    weather = (weather - weather[fitted].mean(0)) / weather[fitted].std(0)
    steps = np.column_stack([anomaly, usual / usual.std(), free[: len(hours)], weather, waves])
    last_week = np.concatenate([anomaly, np.zeros(HORIZONS[-1])])[later - WEEK]
    known = np.column_stack([free[later], usual_later / usual.std(), last_week])
    features = np.column_stack([steps, known])

    origins = np.arange(max(window, 2 * WEEK) - 1, len(hours) - 1)
    split, parts = _split(hours[origins], hours[np.minimum(origins + HORIZONS[-1], len(hours) - 1)])
    unusual = truth - usual_later
    lags = lagged(anomaly, LAGS)
    by_time = np.concatenate([waves[:, [wave]] * lags[:, :3] for wave in range(RUSH)], 1)
    design = np.column_stack([lags, by_time, features])[origins]

    def regression(columns: np.ndarray) -> np.ndarray:
        return usual_later[origins] + ridge(columns, unusual[origins], split.train, 100.0)

    linear = regression(design)
    smoothed = exponential_smoothing(volume, HORIZONS, fitted, WEEK)
    rivals = {
        "persistence": np.repeat(volume[origins][:, None], len(HORIZONS), 1),
        "the same hour last week": np.concatenate([volume, volume[: HORIZONS[-1]]])[later - WEEK][
            origins
        ],
        "the usual hour of the week": usual_later[origins],
        "exponential smoothing (ETS), weekly season": smoothed[origins],
        "ridge, 24 hours": regression(lags[origins]),
        "ridge on the network's inputs": linear,
        "gradient boosting on the same inputs": linear
        + gradient_boosting(design, (truth[origins] - linear), split),
    }
    windows = features[origins[:, None] + np.arange(1 - window, 1)].astype(np.float32)
    names = [str(horizon) for horizon in HORIZONS]
    series = np.full(len(origins), "I-94")
    return Problem(
        names, windows, truth[origins], linear, rivals, hours[origins], series, split, parts
    )


def _free_days(hours: np.ndarray, ahead: int) -> np.ndarray:
    """1 in the hours of federal holidays, else 0, also `ahead` hours beyond the end."""
    index = pd.date_range(hours[0], periods=len(hours) + ahead, freq="h")
    holidays = USFederalHolidayCalendar().holidays(index[0], index[-1])
    return index.normalize().isin(holidays).astype(float)


def _waves(of_week: np.ndarray) -> np.ndarray:
    """Sines and cosines of the day, then of the week, from the hours of the week [L]: [L, 18]."""
    cycles = [order / 24 for order in range(1, 7)] + [order / WEEK for order in range(1, 4)]
    phase = 2 * np.pi * of_week[:, None] * cycles
    return np.stack([np.sin(phase), np.cos(phase)], -1).reshape(len(of_week), -1)


def _weather(table: pd.DataFrame) -> np.ndarray:
    """Temperature, the logarithm of the rain, clouds, and whether it snows or is misty."""
    kind = table["weather_main"]
    return np.column_stack(
        [
            table["temp"],
            np.log1p(table["rain_1h"]),
            table["clouds_all"],
            kind == "Snow",
            kind.isin(["Mist", "Fog", "Haze"]),
        ]
    ).astype(float)


def _split(origins: np.ndarray, last: np.ndarray) -> tuple[Split, np.ndarray]:
    """Splits by the hours of origins and of their last targets, [N]: both are in one quarter."""
    quarters = [hours.astype("datetime64[M]").astype(int) // 3 for hours in (origins, last)]
    before = (quarters[0] == quarters[1]) & (last < TEST)
    parts = np.where(before, quarters[0] - quarters[0][0] + 1, 0)
    test = (origins >= TEST) & (origins < origins[-1] - np.timedelta64(HORIZONS[-1], "h"))
    return Split(np.flatnonzero(before), np.flatnonzero(before), np.flatnonzero(test)), parts
