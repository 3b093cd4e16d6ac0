"""A training as a run of the loggers that `--log` names: settings, and metrics epoch by epoch."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.monitoring import make_loggers
from grujax.sweep.loggers import Recorders


class RunLog:
    """Sends the epochs of a training to loggers, each once."""

    def __init__(self, recorders: Recorders):
        self._recorders = recorders
        self._metrics: dict[str, float] = {}
        self._failed = False

    def record(self, epoch: int, metrics: dict[str, float]) -> None:
        """Records an epoch."""
        self._metrics = metrics
        self._failed |= any(map(math.isnan, metrics.values()))
        self._recorders.log(epoch, {name: np.array([value]) for name, value in metrics.items()})

    def end(self) -> None:
        """The training is finished; one with NaN in a metric has failed."""
        self._recorders.end(self._metrics, self._failed)


@contextmanager
def open_log(directory: Path | None, settings: dict[str, Any]) -> Iterator[RunLog]:
    """Inside, a training is recorded.

    Args:
      directory: its run directory, whose name is that of the run; None: nothing is recorded.
      settings: its settings, JSON values.
    """
    folder = None if directory is None else directory / "logs"
    recorders = Recorders([] if folder is None else make_loggers(folder), folder)
    if directory is not None:
        recorders.expect([directory.name])
        recorders.start(directory.name, _flatten(settings))
    try:
        yield RunLog(recorders)
    finally:
        recorders.close()


def _flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings as numbers, bools and strings; those in a dict are `NAME.INNER`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            is_plain = isinstance(value, bool | int | float | str)
            flat[prefix + name] = value if is_plain else json.dumps(value)
    return flat
