"""A logger that writes lines of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grujax.checks import check_path
from grujax.sweep.loggers.lines import append_lines, keep_lines
from grujax.sweep.loggers.logger import Logger


@dataclass
class JSONLinesLogger(Logger):
    """Appends runs to the file `runs.jsonl`, one JSON object a line.

    A run has a line with its `hyperparameters`, lines with `curves` `[n]` and the `step` that they
    begin with, and a last line with `metrics` and whether it `failed`. NaN and infinities are the
    strings "NaN", "Infinity" and "-Infinity", because JSON has no such numbers.

    Args:
        folder: where the file is; created if it does not exist.

    Raises:
        ValueError: the folder is no path.

    Example:
        >>> import tempfile
        >>> logger = JSONLinesLogger(tempfile.mkdtemp())
        >>> logger.start("a", {"rate": 0.1})
        >>> logger.end({"loss": float("nan")}, failed=True)
        >>> print((logger.folder / "runs.jsonl").read_text())
        {"run": "a", "hyperparameters": {"rate": 0.1}}
        {"run": "a", "metrics": {"loss": "NaN"}, "failed": true}
    """

    folder: str | Path
    _run: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = check_path("folder", self.folder)

    @property
    def _file(self) -> Path:
        return Path(self.folder) / "runs.jsonl"

    def discard(self, runs: Collection[str]) -> None:
        """Removes the lines of these runs."""
        keep_lines(self._file, lambda line: _parse(line).get("run") not in runs)

    def start(self, run: str, hyperparameters: Mapping[str, Any], step: int = 0) -> None:
        """Writes the hyperparameters of a new run."""
        self._run = run
        if step:
            keep_lines(self._file, lambda line: not _follows(_parse(line), run, step))
        else:
            self._append({"hyperparameters": dict(hyperparameters)})

    def log(self, step: int, curves: Mapping[str, np.ndarray]) -> None:
        """Writes a line with all curves."""
        lists = {name: values.tolist() for name, values in curves.items()}
        self._append({"step": step, "curves": lists})

    def end(self, metrics: Mapping[str, Any], failed: bool) -> None:
        """Writes the metrics."""
        self._append({"metrics": dict(metrics), "failed": failed})

    def _append(self, entry: dict[str, Any]) -> None:
        entry = {"run": self._run} | _as_json(entry)
        append_lines(self._file, json.dumps(entry, allow_nan=False) + "\n")


def _as_json(value: Any) -> Any:
    """A value without numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _as_json(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_as_json(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _parse(line: str) -> dict[str, Any]:
    """The entry of a line; an empty one for a line that is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _follows(entry: dict[str, Any], run: str, step: int) -> bool:
    """Whether an entry is of a run, and of this step or a later one."""
    return entry.get("run") == run and ("metrics" in entry or entry.get("step", -1) >= step)
