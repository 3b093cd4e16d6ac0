"""Daily prices of five stocks, 2000 to 2013: range, volatility and return.

There are three targets per stock and day: the logarithm of the next day's range, log(high / low);
the logarithm of the volatility of the next five days, the root of their mean squared return; and
the next day's return, a negative control. All inputs are known at the close of the day before.
"""

import gzip
import io

import numpy as np
import pandas as pd

from experiments.common.data import Archive, fetch, read_member
from experiments.common.data.splits import Split
from experiments.forecasting.problem import Problem
from experiments.forecasting.rivals.ridge import ridge

ARCHIVE = Archive(
    "bokeh-sampledata==2026.1",
    "bokeh_sampledata-2026.1-py3-none-any.whl",
    "f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f",
)
MEMBER = "bokeh_sampledata/_data/stocks.csv.gz"
TARGETS = ["log next-day range", "log 5-day volatility", "next-day return"]
VALIDATION, TEST = np.datetime64("2009-01-01"), np.datetime64("2010-06-01")  # their first days
AHEAD = 5  # days of the volatility
WARM_UP = 22  # days, a month of trading, before anything is used
DECAY = 0.06  # of the slow exponential averages (RiskMetrics: λ = 0.94)


def read_prices() -> pd.DataFrame:
    """The archive's table: Ticker, Date, Open, High, Low, Close, Volume, Adj Close."""
    content = gzip.decompress(read_member(fetch(ARCHIVE), MEMBER))
    prices = pd.read_csv(io.BytesIO(content), parse_dates=["Date"])
    return prices.sort_values(["Ticker", "Date"], ignore_index=True)


def daily_features(prices: pd.DataFrame) -> pd.DataFrame:
    """The inputs and the targets of each stock and day, in the order of `prices`."""
    parts = [_stock_features(part) for _, part in prices.groupby("Ticker")]
    features = pd.concat(parts, ignore_index=True)
    today = features.groupby("date")  # over all stocks
    features["market_range"] = today["range"].transform("mean")
    features["market_range_5"] = today["range_5"].transform("mean")
    features["market_slow_range"] = today["slow_range"].transform("mean")
    features["market_return"] = today["return"].transform("mean")
    by_stock = features.groupby("stock")["market_return"]
    features["market_return_5"] = by_stock.transform(lambda x: x.rolling(5).mean())
    return features


def _stock_features(prices: pd.DataFrame) -> pd.DataFrame:
    log = np.log(prices[["Open", "High", "Low", "Close", "Volume", "Adj Close"]])
    day_range = np.log(np.maximum(log["High"] - log["Low"], 1e-4))
    change = log["Adj Close"].diff().fillna(0)
    variance = change**2
    volatility = np.log(np.maximum(variance.rolling(AHEAD).mean(), 1e-8)) / 2
    slow_range = exponential_mean(day_range, DECAY)
    surprise = day_range - slow_range
    columns = {
        "range": day_range,
        "range_5": day_range.rolling(5).mean(),
        "range_22": day_range.rolling(22).mean(),
        "slow_range": slow_range,
        "fast_range": exponential_mean(day_range, 0.2),
        "slow_volatility": np.log(exponential_mean(variance, DECAY) + 1e-6) / 2,
        "absolute_return": np.log(variance + 1e-5) / 2,
        "return": change,
        "return_22": change.rolling(22).mean(),
        "fall": np.minimum(change, 0),
        "surprise_squared": surprise**2,
        "quarter_ago_1": _quarter_ago(surprise, 61, 63).max(1),
        "quarter_ago_5": _quarter_ago(surprise, 59, 63).mean(1),
        "quarter_ago_7": _quarter_ago(surprise, 58, 64).max(1),
        "volume": log["Volume"] - log["Volume"].rolling(22).mean(),
        "gap": np.log((log["Open"] - log["Close"].shift()).abs().fillna(0) + 1e-3),
        TARGETS[0]: day_range.shift(-1),
        TARGETS[1]: volatility.shift(-AHEAD),
        TARGETS[2]: 100 * change.shift(-1),
    }
    features = pd.DataFrame(columns).reset_index(drop=True)
    features["stock"], features["date"] = prices["Ticker"].to_numpy(), prices["Date"].to_numpy()
    return features


def exponential_mean(values: pd.Series, weight: float) -> pd.Series:
    """s_t = s_{t−1} + weight · (x_t − s_{t−1}), from s_0 = x_0; [L] to [L]."""
    return values.ewm(alpha=weight, adjust=False).mean()


def _quarter_ago(surprise: pd.Series, first: int, last: int) -> np.ndarray:
    """The surprises `first` to `last` days before each day, [L, days]; zero before the first day.

    Companies report their earnings about every 63 trading days.
    """
    return np.stack([surprise.shift(days).fillna(0) for days in range(first, last + 1)], 1)


HAR = ["range", "range_5", "range_22"]
EWMA = ["slow_range"]
INPUTS = [
    *HAR,
    *EWMA,
    "fast_range",
    "slow_volatility",
    "absolute_return",
    "return",
    "return_22",
    "fall",
    "surprise_squared",
    "quarter_ago_1",
    "quarter_ago_5",
    "quarter_ago_7",
    "volume",
    "gap",
    "market_range",
    "market_range_5",
    "market_slow_range",
    "market_return",
    "market_return_5",
]


def make_problem(window: int) -> Problem:
    """Builds the problem of all stocks together; each window of inputs is from one stock.

    Training, validation and test follow each other in time, at the same dates for all stocks, and
    the targets of one part end before those of the next start. One stock, FB, starts within the
    test period.
    """
    features = daily_features(read_prices())
    dates, stocks = features["date"].to_numpy(), features["stock"].to_numpy()
    age = features.groupby("stock").cumcount().to_numpy()
    origins = np.flatnonzero(age >= WARM_UP + window - 2)
    targets = features[TARGETS].to_numpy()[origins]
    known = np.isfinite(targets)
    next_day, last_day = (
        features.groupby("stock")["date"].shift(-days).to_numpy()[origins] for days in (1, AHEAD)
    )
    split = Split(
        np.flatnonzero(last_day < VALIDATION),
        np.flatnonzero((next_day >= VALIDATION) & (last_day < TEST)),
        np.flatnonzero((next_day >= TEST) & known.any(1)),
    )
    parts = np.zeros(len(origins), int)
    parts[split.validation] = 1
    inputs = features[INPUTS].to_numpy()
    train = origins[split.train]
    inputs = (inputs - inputs[train].mean(0)) / inputs[train].std(0)
    steps = origins[:, None] + np.arange(1 - window, 1)  # [N, T]

    def regression(columns: list[str]) -> np.ndarray:
        return ridge(features[columns].to_numpy()[origins], targets, split.train, penalty=30.0)

    factors = np.array([1, 1, 0])  # for returns, zero is the forecast to beat
    everything = regression(INPUTS)
    rivals = {
        "EWMA": regression(EWMA) * factors,
        "HAR": regression(HAR) * factors,
        "HAR + EWMA": regression(HAR + EWMA) * factors,
        "ridge on the network's inputs": everything,
    }
    windows = inputs[steps].astype(np.float32)
    linear = everything * factors
    series = stocks[origins]
    return Problem(TARGETS, windows, targets, linear, rivals, dates[origins], series, split, parts)
