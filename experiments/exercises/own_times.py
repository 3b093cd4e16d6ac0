"""The times of a table's rows, in the units that sensor apps write."""

import re

import numpy as np
import pandas as pd

from experiments.common.command import InputError
from experiments.common.data.cells import AS_SHOWN, MISSING, is_number
from experiments.common.data.tables import Table
from experiments.common.data.user_files import quote
from experiments.common.report.counts import count

UNIT = re.compile(r"\s*[(\[]([^)\]]*)[)\]]\s*$|_(s|ms|us|ns)$")  # at the end of a column's name
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3}
_SECONDS |= {"us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_NAMES = {1.0: "seconds", 1e-3: "milliseconds", 1e-6: "microseconds", 1e-9: "nanoseconds"}
_STEPS = {1.0: 1.0, 1e-3: 1e3, 1e-6: 1e6, 1e-9: np.inf}  # the unit of steps below
_SINCE_1970 = (1e9, 1e10)  # seconds: the years from 2001 to 2286


def read_times(table: Table, name: str | None, rate: float) -> tuple[np.ndarray, list[str]]:
    """Reads the time of each row.

    Args:
      table: the table.
      name: its column of times: dates, or numbers, whose unit the name may tell; None: it has none.
      rate: rows per second of a table without times.

    Returns: float [L], seconds from the first, NaN where it is missing, and notes.

    Raises:
      InputError: a cell is no time.
    """
    if name is None:
        note = f"Without a column of times, {rate:g} rows are a second; `--rate` changes it."
        return np.arange(len(table.rows)) / rate, [note]
    filled = [cell for cell in table.cells(name) if cell.lower() not in MISSING]
    if not filled:
        raise InputError(f"Column {quote(name)} of {table.path} has no times.")
    if not is_number(filled[0]):
        column = table.times_of(name, AS_SHOWN, chosen=True)
        assert column is not None
        moments = pd.DatetimeIndex(column.values)
        notes = [f"Column {quote(name)}: {column.note}."] if column.note else []
        return np.asarray((moments - moments[0]) / pd.Timedelta(seconds=1)), notes
    numbers = np.asarray(table.numbers_of(name, AS_SHOWN).values, float)
    missing = int(np.isnan(numbers).sum())
    notes = [f"Left out: {count(missing, 'row')} without a time."] if missing else []
    unit = UNIT.search(name)
    seconds = _SECONDS.get((unit[1] or unit[2]).strip().casefold()) if unit else None
    if seconds is None:
        seconds = _guess_unit(numbers)
        notes.append(f"Column {quote(name)} is read as {_NAMES[seconds]}.")
    return (numbers - np.nanmin(numbers)) * seconds, notes


def _guess_unit(numbers: np.ndarray) -> float:
    """The unit of times in seconds, by their steps: a sensor measures 1 to 1,000 times a second."""
    steps = np.diff(numbers[np.isfinite(numbers)])
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    if step < 1e3 and _SINCE_1970[0] <= np.nanmax(numbers) < _SINCE_1970[1]:
        return 1.0
    return next(unit for unit, bound in _STEPS.items() if step < bound)
