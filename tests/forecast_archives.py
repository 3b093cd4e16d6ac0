"""Small archives of made-up weather and prices, in the layout of the real ones."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.common import stocks, weather


def write_weather(path: Path) -> None:
    """Four years of days: a season, and anomalies that last."""
    rng = np.random.default_rng(0)
    dates = pd.date_range("2012-01-01", "2015-12-31")
    days = np.arange(len(dates))
    anomaly = np.zeros(len(days))
    for i in days[1:]:
        anomaly[i] = 0.7 * anomaly[i - 1] + rng.normal(0, 2)
    high = 16 - 10 * np.cos(2 * np.pi * days / 365.25) + anomaly
    table = pd.DataFrame(
        {
            "date": dates.strftime("%Y/%m/%d"),
            "precipitation": rng.exponential(3, len(days)).round(1),
            "temp_max": high.round(1),
            "temp_min": (high - rng.uniform(3, 12, len(days))).round(1),
            "wind": rng.uniform(0.4, 9, len(days)).round(1),
            "weather": "rain",
        }
    )
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(weather.MEMBER, table.to_csv(index=False))


def write_stocks(path: Path) -> None:
    """Two stocks whose volatility wanders; the second begins late in the test period."""
    rng = np.random.default_rng(1)
    tables = []
    for ticker, start in (("AAPL", "2008-01-02"), ("FB", "2012-09-03")):
        dates = pd.bdate_range(start, "2013-03-01")
        number = len(dates)
        volatility = 0.015 * np.exp(
            pd.Series(rng.normal(0, 0.5, number)).ewm(alpha=0.1).mean().to_numpy()
        )
        close = 100 * np.exp(np.cumsum(volatility * rng.normal(size=number)))
        half = close * volatility * rng.uniform(0.5, 1, number)
        table = pd.DataFrame(
            {
                "Ticker": ticker,
                "Date": dates,
                "Open": close,
                "High": close + half,
                "Low": close - half,
                "Close": close,
                "Volume": rng.integers(1_000, 9_000, number),
                "Adj Close": close,
            }
        )
        tables.append(table)
    content = gzip.compress(pd.concat(tables).to_csv(index=False).encode())
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(stocks.MEMBER, content)
