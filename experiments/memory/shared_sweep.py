"""A sweep that several processes share, and one of them reports."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.common.training.processes import are_several, is_writer, wait_for_all
from grujax import sweep


def run(
    train: Callable[..., Any], trials: Mapping[str, Any], *, directory: Path, **options: Any
) -> sweep.SweepResult:
    """As `grujax.sweep.run`; of several processes the writer alone returns, with all results.

    Args:
      train: see there.
      trials: see there.
      directory: where the results meet; all processes must have it.
      **options: see there.

    Raises:
      LostProcessError: another process has ended.
      SystemExit: without an error, in the other processes, which have done their share.
    """
    result = sweep.run(train, trials, directory=directory, progress=is_writer(), **options)
    if not are_several():
        return result
    wait_for_all("sweep")
    if not is_writer():
        sys.exit(0)
    return sweep.SweepResult.load(directory)
