"""The problem of any column of a user's table: forecast its next H values from the last W."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.common.command import InputError
from experiments.common.data.cells import parse_times
from experiments.common.data.splits import Split
from experiments.common.data.tables import Series
from experiments.common.report.counts import count
from experiments.forecasting.problem import Problem
from experiments.forecasting.rivals.ridge import ridge

MAX_GAP = 5  # longer gaps are not interpolated
MAX_STEPS = 20_000  # of a longer series, the newest steps are used
TRAIN = 0.85  # the share of origins before the test, in order of time
PARTS = 5  # of these origins, each left out once for validation
MIN_ORIGINS = 5  # per part
PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4)
DAY = pd.Timedelta(days=1)
PERIODS = (DAY, 7 * DAY, 365.25 * DAY)
ORDER = 3  # sines and cosines per period


def make_problem(series: Series, name: str, horizon: int, window: int) -> tuple[Problem, list[str]]:
    """Builds the problem: inputs are the steps before each origin, relative to its last value.

    Short gaps are filled by linear interpolation. A forecast starts only at an observed value, so
    that no interpolation leaks a future value into its inputs. Windows with a longer gap are left
    out, and a missing value is never a target. Covariates are read up to the origin; a missing one
    has the last value before it.

    Args:
      series: see `read_series`.
      name: the name of the series, for errors.
      horizon: H, the number of steps to forecast.
      window: the number of steps to read; twice the horizon if that is more.

    Returns: the problem, and a sentence for each change to the series.

    Raises:
      InputError: the horizon is below 1, or the series is too short, constant, or has a long gap at
        its end, or a covariate is constant.
    """
    if horizon < 1:
        raise InputError(f"`--horizon` is {horizon}; it must be 1 or more.")
    window = max(window, 2 * horizon)
    series, notes = _newest(series, name)
    values = _fill_short_gaps(series.values)
    steps = len(values)
    if steps < window:
        raise _too_short(name, steps, 0, window, horizon)
    lags = np.lib.stride_tricks.sliding_window_view(values, window)  # [L − W + 1, W]
    usable = np.isfinite(series.values[window - 1 :]) & np.isfinite(lags).all(1)
    origins = window - 1 + np.flatnonzero(usable)
    _check_length(name, steps, origins, window, horizon)
    split, parts = _split(origins, steps, horizon)
    gaps = steps - int(np.isfinite(series.values).sum())
    if gaps:
        left_out = steps - window + 1 - len(origins)
        filled = int(np.isfinite(values).sum()) - (steps - gaps)
        notes.append(
            f"{gaps} of {steps} values are missing: {filled} in gaps of at most {MAX_GAP} steps "
            f"are filled by linear interpolation, the other {gaps - filled} are not filled, and "
            f"{left_out} starting points in or after gaps are left out."
        )
    others, other_notes = _covariates(series, origins[split.train])
    notes += other_notes
    future = np.concatenate([series.values, np.full(horizon, np.nan)])
    targets = np.stack([future[origins + step] for step in range(1, horizon + 1)], 1)
    last = values[origins]
    changes = lags[usable] - last[:, None]
    unit = np.sqrt(np.mean(changes[split.train] ** 2)) or 1.0
    waves = calendar(series.times)
    rows = origins[:, None] + np.arange(1 - window, 1)  # [N, W]
    linear = last[:, None] + _best_ridge(
        np.column_stack(
            [changes[:, :-1] / unit, waves[origins], others[rows].reshape(len(rows), -1)]
        ),
        targets - last[:, None],
        split,
        parts,
    )
    observed = np.isfinite(series.values)[rows]
    inputs = np.stack([np.clip(changes / unit, -10, 10), observed], -1)
    inputs = np.concatenate([inputs, waves[rows], others[rows]], -1).astype(np.float32)
    persistence = np.repeat(last[:, None], horizon, 1)
    names = [str(step) for step in range(1, horizon + 1)]
    times = series.times[origins]
    rivals = {"persistence": persistence, "ridge": linear}
    problem = Problem(
        names, inputs, targets, linear, rivals, times, np.full(len(origins), name), split, parts
    )
    return problem, notes


def calendar(times: np.ndarray) -> np.ndarray:
    """Sines and cosines of the day, the week and the year, if the steps resolve them.

    Args:
      times: datetime64 [L]; row numbers have no calendar.

    Returns: [L, C]. A period is used if it has at least four steps and occurs at least twice.
    """
    if not np.issubdtype(times.dtype, np.datetime64):
        return np.zeros((len(times), 0))
    index = pd.DatetimeIndex(times)
    step = (index[1:] - index[:-1]).median()
    waves = [np.zeros((len(times), 0))]
    for period in PERIODS:
        if 4 * step <= period and 2 * period <= index[-1] - index[0]:
            phase = 2 * np.pi * np.asarray((index - pd.Timestamp("2000-01-01")) / period)
            order = np.arange(1, ORDER + 1)
            waves += [np.sin(phase[:, None] * order), np.cos(phase[:, None] * order)]
    return np.concatenate(waves, 1)


def origin_at(problem: Problem, text: str, date_format: str | None) -> int:
    """The row of the origin that `--predict` names: "end", a time, a day, or a row of the table.

    Raises:
      InputError: it names no time, or no forecast starts there.
    """
    times = problem.origins
    if text == "end":
        return len(times) - 1
    is_dated = np.issubdtype(times.dtype, np.datetime64)
    try:
        if is_dated:
            moment = np.asarray(parse_times([text], date_format).values)[0]
            wanted = (times == moment) | (times.astype("datetime64[D]") == moment)
        else:
            wanted = times == int(text)
    except ValueError:
        kind = "a date" if is_dated else "the number of a row"
        raise InputError(f"`--predict` is {text!r}; it must be {kind}, or `end`.") from None
    rows = np.flatnonzero(wanted)
    if not len(rows):
        period = f"{_name(times[0])} to {_name(times[-1])}"
        raise InputError(
            f"No forecast starts at {text}; they start at values without a long gap before them, "
            f"from {period}."
        )
    return int(rows[-1])


def times_after(series: Series, origin: Any, horizon: int) -> Sequence[str]:
    """The names of the H steps after a time of the series, or after the number of a row."""
    steps = range(1, horizon + 1)
    if not np.issubdtype(series.times.dtype, np.datetime64):
        return [f"row {origin + step}" for step in steps]
    if series.frequency is None:
        return [f"{_name(origin)} + {step}" for step in steps]
    ahead = pd.date_range(origin, periods=horizon + 1, freq=series.frequency)[1:]
    whole_days = (ahead == ahead.normalize()).all()
    return [str(time.date() if whole_days else time) for time in ahead]


def _name(time: Any) -> str:
    """A time without a midnight, or the number of a row."""
    if isinstance(time, np.datetime64):
        return str(pd.Timestamp(time)).removesuffix(" 00:00:00")
    return f"row {time}"


def _covariates(series: Series, train: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The covariates [L, C], standardized before the test, and a note for each that has gaps.

    Raises:
      InputError: one is constant there.
    """
    columns, notes = [np.zeros((len(series.times), 0))], []
    for name, values in series.covariates.items():
        known = values[: train.max() + 1]
        known = known[np.isfinite(known)]
        if len(known) == 0 or np.ptp(known) == 0:
            content = f"{known[0]:g} in every row" if len(known) else "no number"
            raise InputError(f"Column {name!r} holds {content} before the test: it tells nothing.")
        scaled = (pd.Series(values).ffill() - known.mean()) / known.std()
        columns.append(scaled.fillna(0).clip(-10, 10).to_numpy()[:, None])
        missing = int(np.isnan(values).sum())
        if missing:
            notes.append(
                f"Column {name!r}: {missing} of {len(values)} values are missing; each has the "
                "last one before it, or the mean if there is none."
            )
    return np.concatenate(columns, 1), notes


def _newest(series: Series, name: str) -> tuple[Series, list[str]]:
    """Drops missing values at both ends, and all but the newest steps."""
    notes = list(series.notes)
    known = np.flatnonzero(np.isfinite(series.values))
    if len(known) == 0 or np.ptp(series.values[known]) == 0:
        content = "no number" if len(known) == 0 else f"{series.values[known[0]]:g} in every row"
        raise InputError(f"Column {name!r} holds {content}: there is nothing to forecast.")
    first, stop = int(known[0]), int(known[-1]) + 1
    if stop < len(series.values):
        notes.append(f"The forecast starts after {series.times[stop - 1]}, the last value.")
    if stop - first > MAX_STEPS:
        first = stop - MAX_STEPS
        notes.append(f"The newest {MAX_STEPS:,} steps are used.")
    others = {name: values[first:stop] for name, values in series.covariates.items()}
    kept = series._replace(
        values=series.values[first:stop], times=series.times[first:stop], covariates=others
    )
    return kept, notes


def _fill_short_gaps(values: np.ndarray) -> np.ndarray:
    missing = pd.Series(values).isna()
    gap_lengths = missing.groupby((~missing).cumsum()).transform("sum")
    filled = pd.Series(values).interpolate()
    return filled.where(~missing | (gap_lengths <= MAX_GAP)).to_numpy()


def _split(origins: np.ndarray, steps: int, horizon: int) -> tuple[Split, np.ndarray]:
    """Splits in order of time; the targets of one part end before those of the next start."""
    with_target = np.flatnonzero(origins < steps - 1)
    shares = np.linspace(0, TRAIN, PARTS + 1)
    starts = origins[with_target[(shares * len(with_target)).astype(int)]]
    part = np.searchsorted(starts, origins, side="right")  # 1 to PARTS, then the test
    before = part <= PARTS
    before &= origins + horizon <= starts[np.minimum(part, PARTS)]
    train = np.flatnonzero(before)
    test = with_target[part[with_target] > PARTS]
    return Split(train, train, test), np.where(before, part, 0)


def _check_length(name: str, steps: int, origins: np.ndarray, window: int, horizon: int) -> None:
    if len(origins) < _needed(window, horizon) - window + 1:
        raise _too_short(name, steps, len(origins), window, horizon)
    if origins[-1] != steps - 1:
        raise InputError(
            f"Column {name!r} has a gap of more than {MAX_GAP} steps within the last {window}, "
            "which the forecast reads."
        )


def _needed(window: int, horizon: int) -> int:
    """The fewest rows to train on."""
    return window + int(np.ceil((MIN_ORIGINS + horizon) * PARTS / TRAIN))


def _too_short(name: str, steps: int, usable: int, window: int, horizon: int) -> InputError:
    return InputError(
        f"Column {name!r} is too short: it has {count(steps, 'row')}, {usable} of them usable as "
        f"starting points; a horizon of {horizon} needs {_needed(window, horizon)} rows without "
        "long gaps."
    )


def _best_ridge(
    features: np.ndarray, targets: np.ndarray, split: Split, parts: np.ndarray
) -> np.ndarray:
    """Ridge forecasts [N, K] with the penalty of least error on the left-out parts."""

    def error(penalty: float) -> float:
        total = 0.0
        for part in range(1, PARTS + 1):
            left_out = parts[split.train] == part
            forecasts = ridge(features, targets, split.train[~left_out], penalty)
            errors = np.abs(forecasts - targets)[split.train[left_out]]
            total += float(np.nansum(errors))
        return total

    return ridge(features, targets, split.train, min(PENALTIES, key=error))
