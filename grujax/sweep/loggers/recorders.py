"""Runs on their way to loggers: each step arrives once, and no logger stops a sweep."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from grujax.sweep.loggers.lines import append_lines
from grujax.sweep.loggers.logger import Logger
from grujax.sweep.progress import warn

_LEDGER = "logged.jsonl"


class Recorders:
    """Sends runs to several loggers.

    The caller sends everything each time it is called; a file in `folder`, the ledger, says what a
    logger has, and only the rest goes to it. Where the ledger lacks an entry, because a program was
    killed or the folder is new, the logger is asked to discard the run, which then is sent again.

    Args:
        loggers: the loggers.
        folder: where the ledger is. Without one, everything is new.
    """

    def __init__(self, loggers: Sequence[Logger], folder: Path | None):
        self._all = [_Recorder(logger, folder) for logger in loggers]

    def __bool__(self) -> bool:
        return bool(self._all)

    def expect(self, runs: Collection[str]) -> None:
        """Says which runs will be sent."""
        for one in self._all:
            one.expect(runs)

    def start(self, run: str, hyperparameters: Mapping[str, Any]) -> None:
        """Begins a run. The others begin when it has ended."""
        for one in self._all:
            one.start(run, hyperparameters)

    def log(self, step: int, curves: Mapping[str, np.ndarray]) -> None:
        """Sends the values of curves `[n]` from `step` on."""
        for one in self._all:
            one.log(step, curves)

    def end(self, metrics: Mapping[str, Any], failed: bool) -> None:
        """Ends the run."""
        for one in self._all:
            one.end(metrics, failed)

    def close(self) -> None:
        """Nothing more is sent."""
        for one in self._all:
            one.close()


class _Recorder:
    """One logger, and what it has."""

    def __init__(self, logger: Logger, folder: Path | None):
        self._logger = logger
        self._is_working = True
        self._ledger = None if folder is None else folder / _LEDGER
        self._name = _name_of(logger)
        self._next = {} if self._ledger is None else _read(self._ledger, self._name)
        self._run = ""

    @property
    def _step(self) -> float:
        """The step of the run that the logger lacks first; ∞ if the run has ended."""
        return self._next.get(self._run, 0)

    def expect(self, runs: Collection[str]) -> None:
        if new := {run for run in runs if run not in self._next}:
            self._call("discard", new)

    def start(self, run: str, hyperparameters: Mapping[str, Any]) -> None:
        self._run = run
        if self._step < math.inf:
            self._call("start", run, hyperparameters, self._step)

    def log(self, step: int, curves: Mapping[str, np.ndarray]) -> None:
        end = step + max(map(len, curves.values()), default=0)
        if self._step >= end:
            return
        known = max(int(self._step) - step, 0)
        rest = {name: values[known:] for name, values in curves.items() if len(values) > known}
        if self._call("log", step + known, rest):
            self._note(end)

    def end(self, metrics: Mapping[str, Any], failed: bool) -> None:
        if self._step < math.inf and self._call("end", metrics, failed):
            self._note(math.inf)

    def close(self) -> None:
        self._call("close")

    def _call(self, method: str, *arguments: Any) -> bool:
        """Calls the logger unless it has failed before; returns whether it has done it."""
        if not self._is_working:
            return False
        try:
            getattr(self._logger, method)(*arguments)
        except Exception as error:  # every package has its own
            self._is_working = False
            warn(
                f"`{type(self._logger).__name__}` failed ({type(error).__name__}: {error}). "
                "Nothing more is logged to it; with a `directory`, the same call logs the rest."
            )
        return self._is_working

    def _note(self, step: float) -> None:
        """Notes that the logger has all steps of the run before this one."""
        self._next[self._run] = step
        if self._ledger is not None:
            next_step = None if step == math.inf else step
            entry = {"logger": self._name, "run": self._run, "next": next_step}
            with suppress(OSError):  # without the entry, the next call sends the run again
                append_lines(self._ledger, json.dumps(entry) + "\n")


def _name_of(logger: Logger) -> str:
    """A name that is the same in the next process. It does not show what may be a password."""
    kind, text = type(logger).__qualname__, repr(logger)
    is_default = " at 0x" in text
    return kind if is_default else f"{kind} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _read(ledger: Path, name: str) -> dict[str, float]:
    """The next step of each run that a logger has; ∞ if the run has ended."""
    steps: dict[str, float] = {}
    content = b""
    with suppress(OSError):  # it does not exist
        content = ledger.read_bytes()
    for line in content.splitlines():
        with suppress(ValueError, KeyError, TypeError):  # a line that a kill left unfinished
            entry = json.loads(line)
            if entry["logger"] == name:
                steps[entry["run"]] = math.inf if entry["next"] is None else entry["next"]
    return steps
