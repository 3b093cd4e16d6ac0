"""A logger for Weights & Biases."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grujax.checks import check_mapping, check_path, check_string
from grujax.sweep.loggers.logger import Logger, missing_package, rows_of


@dataclass
class WandbLogger(Logger):
    """Records runs in a project of Weights & Biases; a run takes seconds. Needs wandb.

    The scalar metrics `[]` are the summary of a run, its curves `[n]` the history, and a run that
    failed has the exit code 1.

    Args:
        project: the name of the project.
        group: the group of the runs. Two runs with the same name, group and project are one. By
            default each logger has a group of its own.
        folder: where wandb keeps its files, in a folder `wandb`.
        options: other arguments of `wandb.init`, such as `{"mode": "offline"}` or
            `{"entity": "my-team"}`.

    Raises:
        ValueError: the project or the group is no string, the folder no path, or the options are
            no dict.
        ImportError: without wandb.

    Example:
        >>> logger = WandbLogger("my_project", options={"mode": "offline"})  # doctest: +SKIP
    """

    project: str
    group: str | None = None
    folder: str | Path = "."
    options: Mapping[str, Any] = field(default_factory=dict)
    _run: Any = field(default=None, init=False, repr=False)
    _own_group: str = field(default_factory=lambda: uuid.uuid4().hex, init=False, repr=False)

    def __post_init__(self) -> None:
        check_string("project", self.project)
        if self.group is not None:
            check_string("group", self.group)
        self.folder = check_path("folder", self.folder)
        self.options = check_mapping("options", self.options, "of arguments of `wandb.init`")
        try:
            import wandb  # noqa: F401
        except ImportError as error:
            raise missing_package(self, "wandb") from error

    def discard(self, runs: Collection[str]) -> None:
        """Removes the files of these runs that are not synchronized.

        A run that is on the server is continued there, which ignores the steps that it has.
        """
        for run in runs:
            for path in (Path(self.folder) / "wandb").glob(f"offline-run-*-{self._identify(run)}"):
                shutil.rmtree(path, ignore_errors=True)

    def start(self, run: str, hyperparameters: Mapping[str, Any], step: int = 0) -> None:
        """Calls `wandb.init`."""
        import wandb

        Path(self.folder).mkdir(parents=True, exist_ok=True)
        options = {
            "project": self.project,
            "group": self.group,
            "dir": str(self.folder),
            "id": self._identify(run),
            "name": run,
            "resume": "allow",
            "config": dict(hyperparameters),
            "settings": wandb.Settings(silent=True, console="off"),
        }
        self._run = wandb.init(**options | dict(self.options))

    def log(self, step: int, curves: Mapping[str, np.ndarray]) -> None:
        """Records the values of all curves, step by step."""
        for index, values in enumerate(rows_of(curves)):
            self._run.log(values, step=step + index)

    def end(self, metrics: Mapping[str, Any], failed: bool) -> None:
        """Records the summary, and ends the run."""
        self._run.summary.update(dict(metrics))
        self._run.finish(exit_code=int(failed))
        self._run = None

    def close(self) -> None:
        """Ends a run that is not complete as failed; it can be continued."""
        if self._run is not None:
            self._run.finish(exit_code=1)
        self._run = None

    def _identify(self, run: str) -> str:
        """The id of a run, which says whether it is a new one."""
        names = [self.project, self.group or self._own_group, run]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]
