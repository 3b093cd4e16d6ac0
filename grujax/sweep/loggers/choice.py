"""Loggers by name, and the check of those that are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grujax.checks import describe
from grujax.sweep.loggers.csv import CSVLogger
from grujax.sweep.loggers.json_lines import JSONLinesLogger
from grujax.sweep.loggers.logger import Logger
from grujax.sweep.loggers.mlflow import MLflowLogger
from grujax.sweep.loggers.tensorboard import TensorBoardLogger
from grujax.sweep.loggers.wandb import WandbLogger

NAMES = ("csv", "json", "mlflow", "tensorboard", "wandb")
PROJECT = "grujax"  # of W&B, and the experiment of MLflow


def choose_loggers(log_to: Any, folder: Path | None, project: str = PROJECT) -> list[Logger]:
    """The loggers that `log_to` means: a name, a `Logger`, several of them, or None.

    Args:
        log_to: the argument of the user.
        folder: where loggers that are given by name write; it names their group, too.
        project: of W&B, and the experiment of MLflow, for those that are given by name.

    Raises:
        ValueError: something else, or a name without the folder that it needs.
        ImportError: the package of a logger is not installed.
    """
    if log_to is None:
        return []
    several = log_to if isinstance(log_to, list | tuple) else [log_to]
    return [_choose(one, folder, project) for one in several]


def _choose(one: Any, folder: Path | None, project: str) -> Logger:
    if isinstance(one, Logger):
        return one
    if not isinstance(one, str) or one not in NAMES:
        raise ValueError(
            f"`log_to` must be a `Logger`, one of {', '.join(map(repr, NAMES))}, or a list of "
            f"these, got {describe(one)}."
        )
    if folder is None:
        raise ValueError(
            f"`log_to` is {one!r}, which writes to the `directory` of the sweep: pass a "
            "`directory`, or a logger instead of its name."
        )
    group = str(folder.resolve())
    if one == "wandb":
        return WandbLogger(project, group, folder)
    if one == "mlflow":
        return MLflowLogger(project, group=group)
    if one == "csv":
        return CSVLogger(folder)
    return JSONLinesLogger(folder) if one == "json" else TensorBoardLogger(folder)
