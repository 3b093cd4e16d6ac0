"""Columns of a user's table as time series with equal steps and marked gaps.

The file has a header row; `separators` says what is between its cells, and `cells` how numbers and
dates may be written. Error messages name the column and the row, counted as in a spreadsheet: the
header is row 1.
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
from experiments.common.data.cells import (
    AS_SHOWN,
    CellError,
    Column,
    Notation,
    is_number,
    parse_numbers,
    parse_times,
)
from experiments.common.data.separators import find_separator
from experiments.common.data.user_files import quote, read_text, shorten
from experiments.common.report.counts import count

LIMIT = 250_000_000  # bytes of a file; its cells take several times as many in memory
NAMED = 20  # the columns that a message shows at most
MAX_MISSING_ROWS = 0.1  # with more missing, the steps count as unequal


class Series(NamedTuple):
    """Columns of a table over L equal steps of time."""

    values: np.ndarray  # float [L], the target; NaN where a cell or a whole row is missing
    times: np.ndarray  # datetime64[ns] [L], or the rows' numbers, int [L]
    frequency: pd.offsets.BaseOffset | pd.Timedelta | None  # one step; None: time is the row number
    notes: list[str]  # one sentence per change made to the table
    covariates: dict[str, np.ndarray]  # other columns by name, each float [L], NaN where missing


class Table(NamedTuple):
    """The cells of a file, without blank rows at the end."""

    path: Path
    separator: str
    header: list[str]
    numbers: np.ndarray  # int [L], of the rows
    rows: list[list[str]]  # [L], each with a cell for each column

    def check(self, flag: str, name: str | None) -> str:
        """Returns the name if there is such a column. Raises InputError."""
        if name is None or name not in self.header:
            given = "is missing" if name is None else f"is {name!r}"
            columns = list_columns(self.header)
            raise InputError(f"`{flag}` {given}; {self.path} has the columns {columns}.")
        return name

    def cells(self, name: str) -> list[str]:
        """The cells of a column."""
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def numbers_of(self, name: str, notation: Notation) -> Column:
        """A column as numbers. Raises InputError."""
        cells = self.cells(name)
        try:
            return parse_numbers(cells, notation.decimal, self.separator != ",")
        except CellError as error:
            raise self._error(name, cells, error) from None

    def times_of(self, name: str, notation: Notation, chosen: bool) -> Column | None:
        """A column as times; None if it has none and the user has not chosen it."""
        cells = self.cells(name)
        if not chosen and (not cells or is_number(cells[0])):
            return None
        try:
            return parse_times(cells, notation.dates)
        except CellError as error:
            if not chosen and error.share > 0.5:
                return None
            raise self._error(name, cells, error) from None

    def _error(self, name: str, cells: list[str], error: CellError) -> InputError:
        place = f"holds {quote(cells[error.index])} in row {self.numbers[error.index]}"
        return InputError(f"Column {quote(name)} of {self.path} {place}, which is {error}.")


def read_series(
    path: Path,
    target: str | None,
    time: str | None,
    covariates: Sequence[str] = (),
    notation: Notation = AS_SHOWN,
) -> Series:
    """Reads a column that is to be forecast, and others that may help.

    Args:
      path: the file.
      target: the column's name.
      time: the name of the time column; None: the first column of dates, or else the row numbers.
      covariates: the names of the other columns.
      notation: how the cells are written.

    Raises:
      InputError: there is no such file, or a column is no time series, or named twice; the message
        names column and row.
    """
    table = read_table(path)
    target = table.check("--target", target)
    time = table.check("--time", time) if time is not None else None
    names = [target, *(table.check("--covariates", name) for name in covariates)]
    if len({time, *names}) <= len(names):
        raise InputError("`--target`, `--time` and `--covariates` must name different columns.")
    columns = [table.numbers_of(name, notation) for name in names]
    noted = zip(names, columns, strict=True)
    notes = [f"Column {name!r}: {column.note}." for name, column in noted if column.note]
    values = np.stack([np.asarray(column.values) for column in columns], 1)
    for name in [time] if time else [name for name in table.header if name not in names]:
        times = table.times_of(name, notation, chosen=bool(time))
        if times is None:
            continue
        notes += [f"Column {name!r}: {times.note}."] * bool(times.note)
        index = pd.DatetimeIndex(times.values)
        values, moments, step, changes = _on_a_grid(path, name, table.numbers, index, values)
        notes += changes
        break
    else:
        moments, step = table.numbers, None
        notes.append("There is no time column: each row is one step.")
    others = dict(zip(names[1:], values.T[1:], strict=True))
    return Series(values[:, 0], moments, step, notes, others)


def read_columns(path: Path, columns: Sequence[str]) -> np.ndarray:
    """Reads columns of numbers without gaps: [rows, columns].

    Raises:
      InputError: there is no such file, or a column or a cell is missing, or is not a number; the
        message says where.
    """
    table = read_table(path)
    missing = [name for name in columns if name not in table.header]
    if missing:
        has = list_columns(table.header)
        raise InputError(f"{path} has no column {missing[0]!r}; it has the columns {has}.")
    read = []
    for name in columns:
        values = np.asarray(table.numbers_of(name, AS_SHOWN).values)
        if np.isnan(values).any():
            row = table.numbers[np.isnan(values)][0]
            raise InputError(f"Column {name!r} of {path} holds no number in row {row}.")
        read.append(values)
    return np.stack(read, 1)


def read_table(path: Path) -> Table:
    """Reads a table as text. Raises InputError: it is no table with a header."""
    text = read_text(path, LIMIT)
    separator = find_separator(text, width=2) or ";"  # numbers of one column may have commas
    header, *rows = _split_cells(path, text, separator) or [[]]
    if not any(header):
        raise InputError(f"{path} has no header: row 1 must name the columns.")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(f"{path} has the column {quote(twice[0])} more than once in row 1.")
    while rows and not any(rows[-1]):
        rows.pop()
    numbers, kept = [], []
    for number, row in enumerate(rows, start=2):
        if not any(row) and len(header) > 1:
            continue
        cells = row or [""]
        if len(cells) != len(header):
            raise InputError(
                f"Row {number} of {path} has {count(len(cells), 'cell')}, but the header has "
                f"{len(header)}."
            )
        numbers.append(number)
        kept.append(cells)
    return Table(path, separator, header, np.array(numbers, int), kept)


def _split_cells(path: Path, text: str, separator: str) -> list[list[str]]:
    """The cells of each row."""
    rows: list[list[str]] = []
    try:
        rows.extend(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise InputError(f"Row {len(rows) + 1} of {path} is not readable: {error}.") from None
    return [[cell.strip() for cell in row] for row in rows]


def list_columns(header: list[str]) -> str:
    """The names of the columns, as many as fit in a message."""
    more = f", and {len(header) - NAMED} more" if len(header) > NAMED else ""
    return ", ".join(shorten(name) for name in header[:NAMED]) + more


def _on_a_grid(
    path: Path, column: str, numbers: np.ndarray, times: pd.DatetimeIndex, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, pd.offsets.BaseOffset | pd.Timedelta | None, list[str]]:
    """Sorts values [L, C] by time, and inserts NaN for missing rows.

    Returns: the values, their times, the step, and a note for each change.
    """
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
        return values, times.to_numpy(), complete, notes
    steps = times.to_series().diff().dropna()
    step = steps.mode().iloc[0] if len(steps) else pd.Timedelta(days=1)
    places = (times - times[0]) / step
    length = int(places[-1]) + 1 if len(times) else 0
    if len(times) < (1 - MAX_MISSING_ROWS) * length or not (places == places.astype(int)).all():
        notes.append(f"The steps of {column!r} have unequal lengths: each row counts as one step.")
        return values, times.to_numpy(), None, notes
    grid = pd.date_range(times[0], periods=length, freq=step)
    notes.append(f"Rows are missing for {length - len(times)} of the {length} steps.")
    return pd.DataFrame(values, times).reindex(grid).to_numpy(), grid.to_numpy(), step, notes


def _frequency(times: pd.DatetimeIndex) -> pd.offsets.BaseOffset | None:
    """The step of times without gaps, such as a month or a business day; else None."""
    if len(times) < 3:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3 says that its successor returns an offset
        return pd.tseries.frequencies.to_offset(pd.infer_freq(times))
