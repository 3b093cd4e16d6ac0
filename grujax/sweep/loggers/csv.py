"""A logger that writes tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grujax.checks import check_path
from grujax.sweep.loggers.lines import append_lines, keep_lines
from grujax.sweep.loggers.logger import Logger
from grujax.sweep.storage.files import write_atomically

_CURVES = ("run", "step", "metric", "value")


@dataclass
class CSVLogger(Logger):
    """Writes two tables: `runs.csv` has a row for each run, and `curves.csv` one for each value.

    The columns of `runs.csv` are `run`, `failed`, the hyperparameters and the scalar metrics `[]`;
    a metric with the name of a hyperparameter is `metric.NAME`. Columns that only later runs have
    are added. Those of `curves.csv` are `run`, `step`, `metric` and `value`.

    Args:
        folder: where the files are; created if it does not exist.

    Raises:
        ValueError: the folder is no path.

    Example:
        >>> import tempfile
        >>> logger = CSVLogger(tempfile.mkdtemp())
        >>> logger.start("a", {"rate": 0.1})
        >>> logger.log(0, {"losses": np.array([2.0, 1.0])})
        >>> logger.end({"loss": 0.5}, failed=False)
        >>> print((logger.folder / "runs.csv").read_text())
        run,failed,rate,loss
        a,False,0.1,0.5
        >>> print((logger.folder / "curves.csv").read_text())
        run,step,metric,value
        a,0,losses,2.0
        a,1,losses,1.0
    """

    folder: str | Path
    _run: str = field(default="", init=False, repr=False)
    _hyperparameters: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _columns: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = check_path("folder", self.folder)

    @property
    def _runs(self) -> Path:
        return Path(self.folder) / "runs.csv"

    @property
    def _curves(self) -> Path:
        return Path(self.folder) / "curves.csv"

    def discard(self, runs: Collection[str]) -> None:
        """Removes the rows of these runs."""
        for path in (self._runs, self._curves):
            keep_lines(path, lambda line: _parse(line)[0] not in runs, header=True)

    def start(self, run: str, hyperparameters: Mapping[str, Any], step: int = 0) -> None:
        """Keeps the hyperparameters, which `end` writes."""
        self._run, self._hyperparameters = run, dict(hyperparameters)
        if step:
            keep_lines(self._runs, lambda line: _parse(line)[0] != run, header=True)
            keep_lines(
                self._curves, lambda line: not _follows(_parse(line), run, step), header=True
            )

    def log(self, step: int, curves: Mapping[str, np.ndarray]) -> None:
        """Writes the rows of all values."""
        rows: list[tuple] = [
            (self._run, step + index, name, value)
            for name, values in curves.items()
            for index, value in enumerate(values.tolist())
        ]
        if not self._curves.exists():
            rows.insert(0, _CURVES)
        append_lines(self._curves, _format(rows))

    def end(self, metrics: Mapping[str, Any], failed: bool) -> None:
        """Writes the row of the run."""
        row = {"run": self._run, "failed": failed} | self._hyperparameters
        row |= {f"metric.{name}" if name in row else name: x for name, x in metrics.items()}
        if not self._columns:
            self._columns = self._read_columns()
        if new := [name for name in row if name not in self._columns]:
            self._add_columns(new)
        append_lines(self._runs, _format([[row.get(name, "") for name in self._columns]]))

    def _read_columns(self) -> list[str]:
        if not self._runs.exists():
            return []
        with self._runs.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])

    def _add_columns(self, names: list[str]) -> None:
        """Writes the table anew, with empty entries where the runs before have no value."""
        rows = []
        if self._runs.exists():
            with self._runs.open(encoding="utf-8", newline="") as file:
                rows = [[*row, *[""] * len(names)] for row in list(csv.reader(file))[1:]]
        self._columns = [*self._columns, *names]
        self._runs.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._runs, _format([self._columns, *rows]).encode())


def _format(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    # A line break inside a value would make two lines of a row.
    csv.writer(text, lineterminator="\n").writerows(
        [" ".join(x.splitlines()) if isinstance(x, str) else x for x in row] for row in rows
    )
    return text.getvalue()


def _parse(line: str) -> list[str]:
    return next(csv.reader([line]), [""])


def _follows(row: list[str], run: str, step: int) -> bool:
    """Whether a row of curves is of a run, and of this step or a later one."""
    return row[0] == run and int(row[1]) >= step
