"""The trials of a sweep as runs of loggers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from grujax.sweep.loggers.choice import choose_loggers
from grujax.sweep.loggers.logger import Logger
from grujax.sweep.loggers.recorders import Recorders

_FOLDER = "logs"  # in the directory of a sweep


class TrialLog:
    """Sends finished trials to loggers."""

    def __init__(self, recorders: Recorders):
        self._recorders = recorders

    def record(
        self,
        numbers: Iterable[int],
        hyperparameters: Mapping[str, np.ndarray],
        metrics: Mapping[str, np.ndarray],
        diverged: np.ndarray,
    ) -> None:
        """Records trials. A curve ends with its last value that is not NaN, unless it diverged.

        Args:
            numbers: which ones.
            hyperparameters: the values of each `[n]`.
            metrics: the values of each `[n, ...]`.
            diverged: `[n]` bool, whether any metric contains NaN.
        """
        if not self._recorders:
            return
        for row, number in enumerate(numbers):
            values = {name: array[row].item() for name, array in hyperparameters.items()}
            found = {name: _as_real(array[row]) for name, array in metrics.items()}
            scalars = {n: x.item() for n, x in found.items() if x is not None and not x.ndim}
            curves = {n: x for n, x in found.items() if x is not None and x.ndim == 1}
            if not diverged[row]:
                curves = {name: _without_padding(x) for name, x in curves.items()}
            self._recorders.start(name_of(number), values)
            self._recorders.log(0, curves)
            self._recorders.end(scalars, bool(diverged[row]))


def check_log(log_to: Any, directory: Path | None, process: int, processes: int) -> list[Logger]:
    """The loggers of a sweep. Raises as `choose_loggers`."""
    return choose_loggers(log_to, _folder_of(directory, process, processes))


@contextmanager
def open_log(
    loggers: list[Logger],
    directory: Path | None,
    numbers: Iterable[int],
    process: int = 0,
    processes: int = 1,
) -> Iterator[TrialLog]:
    """Inside, trials with these numbers are recorded.

    Args:
        loggers: where.
        directory: of the sweep.
        numbers: of all trials.
        process, processes: which one of several this is; each has a folder of its own.
    """
    recorders = Recorders(loggers, _folder_of(directory, process, processes))
    try:
        recorders.expect([name_of(number) for number in numbers] if loggers else [])
        yield TrialLog(recorders)
    finally:
        recorders.close()


def name_of(number: int) -> str:
    """The name of the run of a trial."""
    return f"trial-{number:06d}"


def _folder_of(directory: Path | None, process: int, processes: int) -> Path | None:
    if directory is None:
        return None
    folder = directory / _FOLDER
    return folder if processes == 1 else folder / f"process-{process}"


def _as_real(value: Any) -> np.ndarray | None:
    """An array of dtypes that Python knows; None if it is complex."""
    array = np.asarray(value)
    if array.dtype.kind == "c":
        return None
    is_extended = array.dtype.kind == "V"  # bfloat16
    return array.astype(np.float32) if is_extended else array


def _without_padding(values: np.ndarray) -> np.ndarray:
    """A curve without the NaN at its end, which stand for no step."""
    if values.dtype.kind != "f" or not len(values) or not np.isnan(values[-1]):
        return values
    return values[: len(values) - int(np.cumprod(np.isnan(values)[::-1]).sum())]
