"""How trainings are watched: the flags of `run_command` for progress and loggers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grujax.sweep import Logger
from grujax.sweep.loggers import choose_loggers


@dataclass(frozen=True)
class Monitoring:
    """Where trainings are recorded, and whether their progress is shown."""

    log: tuple[
        Literal["csv", "json", "mlflow", "tensorboard", "wandb"], ...
    ] = ()  # loggers that record it
    quiet: bool = False  # show no progress


_used = [(Monitoring(), "grujax")]  # flags and projects, the innermost last


@contextmanager
def use_monitoring(flags: Monitoring, project: str) -> Iterator[None]:
    """Inside, trainings are watched like this; `project` names them in W&B and MLflow."""
    _used.append((flags, project))
    try:
        yield
    finally:
        _used.pop()


def shows_progress() -> bool:
    """Whether progress is shown."""
    return not _used[-1][0].quiet


def make_loggers(folder: Path) -> list[Logger]:
    """The loggers of the flags, which write to a folder.

    Raises:
      ImportError: the package of one is not installed.
    """
    flags, project = _used[-1]
    return choose_loggers(flags.log, folder, project)
