"""A sweep shared by several processes, of which one reports."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.common.monitoring import make_loggers, shows_progress
from experiments.common.training.processes import is_multiprocess, is_writer, wait_for_all
from grujax import sweep


def run(
    train: Callable[..., Any], trials: Mapping[str, Any], *, directory: Path, **options: Any
) -> sweep.SweepResult:
    """Runs `grujax.sweep.run`; of several processes only the writer returns, with all results.

    Args:
      train: `train(key, **hyperparameters) -> metrics`.
      trials: for each hyperparameter an array [n].
      directory: a directory that all processes share.
      **options: the other options of `grujax.sweep.run`.

    Raises:
      LostProcessError: another process has ended.
      SystemExit: with status 0, in the other processes, after they have run their share.
    """
    logs = directory / "logs"
    logs = logs / f"process-{jax.process_index()}" if is_multiprocess() else logs
    result = sweep.run(
        train,
        trials,
        directory=directory,
        progress=is_writer() and shows_progress(),
        log_to=make_loggers(logs),
        **options,
    )
    if not is_multiprocess():
        return result
    wait_for_all("sweep")
    if not is_writer():
        sys.exit(0)
    return sweep.SweepResult.load(directory)
