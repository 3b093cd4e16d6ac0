"""The reports of `experiments.forecasting`: one for each study, and one for the user's table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.common.command import InputError
from experiments.common.outputs import write_text
from experiments.common.report import format_table
from experiments.common.report.counts import count
from experiments.forecasting import plots
from experiments.forecasting.comparison import (
    ABSOLUTE,
    BLOCK,
    SQUARED,
    compare,
    print_comparison,
    write_comparison,
)
from experiments.forecasting.plots import Fan
from experiments.forecasting.problem import Problem
from experiments.forecasting.quantiles import COVERAGE, LEVELS, TOLERANCE, median
from experiments.forecasting.scores import describe_reduction, error_reduction, share_with_interval

ALWAYS_UP = "always up"
PAST = 21  # steps shown before a fan
SHOWN_STOCKS, SHOWN_DAYS = ("AAPL", "FB"), 120
SHOWN_WEEK = np.datetime64("2018-07-02T00"), np.datetime64("2018-07-09T00")  # with a holiday


def report_weather(problem: Problem, quantiles: np.ndarray, network: str, out: Path) -> None:
    """Reports errors by horizon, and draws four fans from days of the test year.

    Args:
      problem: the forecasting problem.
      quantiles: [seeds, N, K, Q], from all origins.
      network: its name.
      out: the folder for results.json and plots.
    """
    unit = "highest temperature, °C"
    _report_horizons(problem, quantiles, network, unit, "days ahead", out)
    test = problem.split.test
    days = test[np.linspace(PAST, len(test) - len(problem.names), 4).astype(int)]
    fans = [_fan(problem, quantiles, day) for day in days]
    plots.plot_fans(out / "forecasts.png", fans, unit, network)


def report_traffic(problem: Problem, quantiles: np.ndarray, network: str, out: Path) -> None:
    """Reports errors by horizon, and draws the shortest and the longest in a week with a holiday.

    Args:
      problem: the forecasting problem.
      quantiles: [seeds, N, K, Q], from all origins.
      network: its name.
      out: the folder for results.json and plots.
    """
    _report_horizons(problem, quantiles, network, "vehicles per hour", "hours ahead", out)
    first, last = SHOWN_WEEK
    shown = np.flatnonzero((problem.origins >= first) & (problem.origins < last))
    average = quantiles.mean(0)
    panels = {
        f"{problem.names[k]} h ahead": (
            problem.origins[shown] + np.timedelta64(int(problem.names[k]), "h"),
            average[shown, k],
            problem.targets[shown, k],
        )
        for k in (0, len(problem.names) - 1)
    }
    plots.plot_tracks(out / "forecasts.png", panels, "vehicles per hour", network)


def report_table(
    problem: Problem, quantiles: np.ndarray, network: str, times: Sequence[str], out: Path
) -> None:
    """Reports errors by horizon, and the forecast for the H `times`, also in forecast.csv."""
    name, final = str(problem.series[-1]), len(problem.origins) - 1
    _report_horizons(problem, quantiles, network, name, "steps ahead", out)
    shown = [*problem.split.test[[0, len(problem.split.test) // 2]], final]
    fans = [_fan(problem, quantiles, row) for row in shown]
    plots.plot_fans(out / "forecasts.png", fans, name, network)
    forecast = quantiles.mean(0)[final]
    table = pd.DataFrame(forecast, columns=[f"{level:.0%}" for level in LEVELS])
    table.insert(0, "time", list(times))
    write_text(out / "forecast.csv", table.to_csv(index=False, lineterminator="\n"))
    print(f"\nThe next {count(len(times), 'value')} of {name}, as quantiles:")
    print(describe_quantiles(times, forecast))


def report_stocks(problem: Problem, quantiles: np.ndarray, network: str, out: Path) -> None:
    """Reports R² of ranges, volatilities and returns, and the direction of the next day."""
    comparison = compare(problem, quantiles, network, SQUARED)
    print_comparison(comparison, problem.names, SQUARED.title)
    direction = measure_direction(problem, quantiles, network)
    write_comparison(comparison, problem.names, out / "results.json", direction=direction)
    print(f"\n{describe_direction(direction, network)}")
    plots.plot_bars(out / "r_squared.png", comparison.intervals, problem.names, SQUARED.title)
    average, rows = quantiles.mean(0), problem.split.test
    shares = shares_below(problem, quantiles)
    plots.plot_calibration(out / "calibration.png", shares, problem.names)
    panels = {}
    for stock in SHOWN_STOCKS:
        chosen = rows[problem.series[rows] == stock][-SHOWN_DAYS:]
        if len(chosen):
            truth = problem.targets[chosen, 0]
            panels[stock] = (problem.origins[chosen], average[chosen, 0], truth)
    plots.plot_tracks(out / "forecasts.png", panels, problem.names[0], network)


def shares_below(problem: Problem, quantiles: np.ndarray) -> np.ndarray:
    """How often the truth of the test set is below each quantile: [3, K, Q], with 95% intervals."""
    rows = problem.split.test
    targets = problem.targets[rows, :, None]
    below = np.where(np.isfinite(targets), targets <= quantiles.mean(0)[rows], np.nan)
    flat = below.reshape(len(rows), -1)
    known = np.isfinite(flat).astype(float)
    shares = share_with_interval(flat, known, problem.origins[rows], BLOCK)
    return shares.reshape(3, *below.shape[1:])


def measure_direction(problem: Problem, quantiles: np.ndarray, network: str) -> dict[str, Any]:
    """The negative control: does the sign of the median return predict the direction of a stock?

    Returns: how often the network and "always up" are right, and the share of the latter's errors
    that the network saves, see `error_reduction`; JSON values.
    """
    rows = problem.split.test
    rows = rows[np.isfinite(problem.targets[rows, -1])]
    rises = problem.targets[rows, -1:] > 0
    wrong = np.mean([(median(q[rows, -1:]) > 0) != rises for q in quantiles], 0)
    reduction = error_reduction(wrong, ~rises, problem.origins[rows], BLOCK)[:, 0]
    right = {network: 1 - float(wrong.mean()), ALWAYS_UP: float(rises.mean())}
    return right | {"reduction": reduction.tolist()}


def describe_direction(direction: Mapping[str, Any], network: str) -> str:
    """Says whether the network predicts directions, see `measure_direction`."""
    reduction = np.array(direction["reduction"])
    edge = "an edge" if reduction[1] > 0 else "no edge, as expected"
    return (
        f"Direction of the next day, the negative control: {network} right "
        f"{direction[network]:.1%}, {ALWAYS_UP} {direction[ALWAYS_UP]:.1%}. Reduction of the "
        f"errors of {ALWAYS_UP}, in %: {describe_reduction(reduction).rstrip(' *')}, {edge}."
    )


def warn_of_coverage(names: Sequence[str], shares: np.ndarray) -> None:
    """Warns of targets whose outer interval held too little of the validation data.

    Args:
      names: of the K targets.
      shares: [K], see `validation_coverage`.
    """
    missed = [
        f"{name} ({share:.0%})"
        for name, share in zip(names, shares, strict=True)
        if share < COVERAGE - TOLERANCE
    ]
    if missed:
        print(
            f"\nwarning: the {COVERAGE:.0%} intervals are too narrow for {', '.join(missed)}: on "
            "validation data they held the truth only so often. Expect more outside them."
        )


def origins_on(problem: Problem, date: str) -> np.ndarray:
    """The rows of the last origins on a day, one per series; `date` is an ISO date, or "end".

    Raises:
      InputError: `date` is not a date, or the data has no forecast from it.
    """
    days = problem.origins.astype("datetime64[D]")
    try:
        day = days.max() if date == "end" else np.datetime64(date, "D")
    except ValueError:
        raise InputError(f"`--predict` is {date!r}; it must be a date, or `end`.") from None
    rows = np.flatnonzero(days == day)
    if not len(rows):
        period = f"{days.min()} to {days.max()}"
        raise InputError(f"There is no forecast from {day}; the data has days from {period}.")
    _, from_end = np.unique(problem.series[rows][::-1], return_index=True)
    return np.sort(rows[::-1][from_end])


def describe_forecasts(problem: Problem, rows: np.ndarray, quantiles: np.ndarray) -> str:
    """Formats forecasts [R, K, Q] from R origins as tables; logarithms as percent of the price."""
    tables = []
    for row, forecast in zip(rows, quantiles, strict=True):
        logs = np.array([name.startswith("log ") for name in problem.names])
        shown = np.where(logs[:, None], 100 * np.exp(forecast), forecast)
        names = [
            f"{name.removeprefix('log ')}, %" if log else name
            for name, log in zip(problem.names, logs, strict=True)
        ]
        heading = f"{problem.series[row]}, from the end of {problem.origins[row]!s:.10}"
        tables.append(f"{heading}\n{describe_quantiles(names, shown)}")
    return "\n\n".join(tables)


def describe_quantiles(names: Sequence[str], quantiles: np.ndarray) -> str:
    """Formats quantiles [K, Q] as a table with one row per name."""
    pairs = zip(names, quantiles, strict=True)
    rows = [[name, *(f"{value:.4g}" for value in row)] for name, row in pairs]
    return format_table(["", *(f"{level:.0%}" for level in LEVELS)], rows)


def _report_horizons(
    problem: Problem, quantiles: np.ndarray, network: str, unit: str, steps: str, out: Path
) -> None:
    comparison = compare(problem, quantiles, network, ABSOLUTE)
    print_comparison(comparison, problem.names, f"{ABSOLUTE.title}, {steps}")
    write_comparison(comparison, problem.names, out / "results.json")
    label = f"{unit}: {ABSOLUTE.title}"
    plots.plot_errors(out / "errors.png", comparison.intervals, problem.names, steps, label)
    names = [f"{name} {steps}" for name in problem.names]
    plots.plot_calibration(out / "calibration.png", shares_below(problem, quantiles), names)


def _fan(problem: Problem, quantiles: np.ndarray, row: int) -> Fan:
    """A fan from the origin `row`; its past skips origins that were left out."""
    past = problem.rivals["persistence"][max(row - PAST + 1, 0) : row + 1, 0]
    origin = f"{problem.origins[row]!s:.16}".removesuffix("T00:00")
    return Fan(f"from {origin}", past, quantiles.mean(0)[row], problem.targets[row])
