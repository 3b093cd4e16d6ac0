"""A column of a user's table as a time series with equal steps and marked gaps.

The file has a header row; commas, semicolons or tabs separate its cells. Error messages name the
column and the row, counted as in a spreadsheet: the header is row 1.
"""

import csv
import io
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.common.command import InputError
from experiments.common.data.user_files import read_text

MISSING = {"", "-", "na", "n/a", "nan", "nat", "null", "none"}
LIMIT = 250_000_000  # bytes of a file; its cells take several times as many in memory
NAMED, SHOWN = 20, 60  # the columns, and the characters of a cell, that a message shows at most
MAX_MISSING_ROWS = 0.1  # with more missing, the steps count as unequal


class Series(NamedTuple):
    """One column of a table over L equal steps of time."""

    values: np.ndarray  # float [L]; NaN where a cell or a whole row is missing
    times: np.ndarray  # datetime64[ns] [L], or the rows' numbers, int [L]
    frequency: pd.offsets.BaseOffset | pd.Timedelta | None  # one step; None: time is the row number
    notes: list[str]  # one sentence per change made to the table


def read_series(path: Path, target: str | None, time: str | None) -> Series:
    """Reads one column.

    Args:
      path: the file.
      target: the column's name.
      time: the name of the time column; None: the first column of dates, or else the row numbers.

    Raises:
      FileNotFoundError: the file does not exist.
      InputError: the column is not a time series; the message names column and row.
    """
    header, rows = _read_cells(path)
    columns = _list_columns(header)
    for flag, name in (("target", target), ("time", time)):
        if (name is None and flag == "target") or (name is not None and name not in header):
            given = "is missing" if name is None else f"is {name!r}"
            raise InputError(f"`--{flag}` {given}; {path} has the columns {columns}.")
    assert target is not None
    numbers = np.array([number for number, _ in rows])
    values = _numbers(path, target, numbers, [cells[header.index(target)] for _, cells in rows])
    candidates = [time] if time else [name for name in header if name != target]
    for name in candidates:
        cells = [cells[header.index(name)] for _, cells in rows]
        times = _times(path, name, numbers, cells, chosen=bool(time))
        if times is not None:
            return _on_a_grid(path, name, numbers, times, values)
    return Series(values, numbers, None, ["There is no time column: each row is one step."])


def read_columns(path: Path, columns: Sequence[str]) -> np.ndarray:
    """Reads columns of numbers without gaps: [rows, columns].

    Raises:
      FileNotFoundError: the file does not exist.
      InputError: a column or a cell is missing, or is not a number; the message says where.
    """
    header, rows = _read_cells(path)
    missing = [name for name in columns if name not in header]
    if missing:
        has = _list_columns(header)
        raise InputError(f"{path} has no column {missing[0]!r}; it has the columns {has}.")
    numbers = np.array([number for number, _ in rows])
    read = []
    for name in columns:
        values = _numbers(path, name, numbers, [cells[header.index(name)] for _, cells in rows])
        if np.isnan(values).any():
            row = numbers[np.isnan(values)][0]
            raise InputError(f"Column {name!r} of {path} holds no number in row {row}.")
        read.append(values)
    return np.stack(read, 1)


def _read_cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row's number with its cells, without trailing blank rows."""
    header, *rows = _split_cells(path, read_text(path, LIMIT)) or [[]]
    if not any(header):
        raise InputError(f"{path} has no header: row 1 must name the columns.")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(f"{path} has the column {_quote(twice[0])} more than once in row 1.")
    while rows and not any(rows[-1]):
        rows.pop()
    numbered = []
    for number, row in enumerate(rows, start=2):
        if not any(row) and len(header) > 1:
            continue
        cells = row or [""]
        if len(cells) != len(header):
            raise InputError(
                f"Row {number} of {path} has {len(cells)} cells, but the header has {len(header)}."
            )
        numbered.append((number, cells))
    return header, numbered


def _split_cells(path: Path, text: str) -> list[list[str]]:
    """The cells of each row."""
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    rows: list[list[str]] = []
    try:
        rows.extend(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise InputError(f"Row {len(rows) + 1} of {path} is not readable: {error}.") from None
    return [[cell.strip() for cell in row] for row in rows]


def _list_columns(header: list[str]) -> str:
    """The names of the columns, as many as fit in a message."""
    more = f", and {len(header) - NAMED} more" if len(header) > NAMED else ""
    return ", ".join(_shorten(name) for name in header[:NAMED]) + more


def _shorten(text: str) -> str:
    """A text of the table, as much of it as fits in a message."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def _quote(text: str) -> str:
    return repr(_shorten(text))


def _numbers(path: Path, column: str, numbers: np.ndarray, cells: list[str]) -> np.ndarray:
    values = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        if cell.lower() in MISSING:
            continue
        try:
            values[i] = float(cell)
        except ValueError:
            values[i] = np.inf
        if not np.isfinite(values[i]):
            raise InputError(
                f"Column {column!r} of {path} holds {_quote(cell)} in row {numbers[i]}, "
                "which is not a number."
            )
    return values


def _times(
    path: Path, column: str, numbers: np.ndarray, cells: list[str], chosen: bool
) -> pd.DatetimeIndex | None:
    """Parses dates; None if they are not dates and the user has not chosen the column."""
    if not chosen and (not cells or _is_number(cells[0])):
        return None
    times = pd.to_datetime(pd.Series(cells, dtype=str), errors="coerce", utc=True)
    if times.isna().any():
        if not chosen and times.isna().mean() > 0.5:
            return None
        i = int(np.flatnonzero(times.isna())[0])
        raise InputError(
            f"Column {column!r} of {path} holds {_quote(cells[i])} in row {numbers[i]}, which is "
            "not a time in the format of the rows before it."
        )
    return pd.DatetimeIndex(times).tz_localize(None)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _on_a_grid(
    path: Path, column: str, numbers: np.ndarray, times: pd.DatetimeIndex, values: np.ndarray
) -> Series:
    """Sorts by time, and inserts NaN for missing rows."""
    notes = []
    if not times.is_monotonic_increasing:
        order = times.argsort()
        times, values, numbers = times[order], values[order], numbers[order]
        notes.append(f"The rows are sorted by {column!r}.")
    if times.has_duplicates:
        row = numbers[np.flatnonzero(times.duplicated())[0]]
        raise InputError(f"Column {column!r} of {path} repeats a time in row {row}.")
    complete = _frequency(times)
    if complete is not None:
        return Series(values, times.to_numpy(), complete, notes)
    steps = times.to_series().diff().dropna()
    step = steps.mode().iloc[0] if len(steps) else pd.Timedelta(days=1)
    places = (times - times[0]) / step
    length = int(places[-1]) + 1 if len(times) else 0
    if len(times) < (1 - MAX_MISSING_ROWS) * length or not (places == places.astype(int)).all():
        notes.append(f"The steps of {column!r} have unequal lengths: each row counts as one step.")
        return Series(values, times.to_numpy(), None, notes)
    grid = pd.date_range(times[0], periods=length, freq=step)
    notes.append(f"Rows are missing for {length - len(times)} of the {length} steps.")
    full = pd.Series(values, times).reindex(grid).to_numpy()
    return Series(full, grid.to_numpy(), step, notes)


def _frequency(times: pd.DatetimeIndex) -> pd.offsets.BaseOffset | None:
    """The step of times without gaps, such as a month or a business day; else None."""
    if len(times) < 3:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3 says that its successor returns an offset
        return pd.tseries.frequencies.to_offset(pd.infer_freq(times))
