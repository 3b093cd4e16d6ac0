"""A logger for MLflow."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grujax.checks import check_string
from grujax.sweep.loggers.logger import Logger, missing_package

_GROUP = "grujax.group"  # the tag that says which runs replace each other
_MOST_METRICS, _MOST_PARAMS = 1000, 100  # of one request
_PAGE = 1000  # runs


@dataclass
class MLflowLogger(Logger):
    """Records runs in an experiment of MLflow. Needs mlflow.

    The hyperparameters are parameters, the curves `[n]` and the scalar metrics `[]` metrics, and a
    run that failed has the status FAILED.

    Args:
        experiment: the name of the experiment, which is made if it does not exist.
        tracking_uri: where MLflow keeps its records, such as "sqlite:///mlflow.db". By default
            where MLflow itself does.
        group: a tag of the runs. Two runs with the same name, group and experiment are one. By
            default each logger has a group of its own.

    Raises:
        ValueError: an argument is no string.
        ImportError: without mlflow.

    Example:
        >>> logger = MLflowLogger("my_experiment", "sqlite:///mlflow.db")  # doctest: +SKIP
    """

    experiment: str
    tracking_uri: str | None = None
    group: str | None = None
    _own_group: str = field(default_factory=lambda: uuid.uuid4().hex, init=False, repr=False)
    _opened: tuple[Any, str] | None = field(default=None, init=False, repr=False)
    _run: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        check_string("experiment", self.experiment)
        for name in ("tracking_uri", "group"):
            if getattr(self, name) is not None:
                check_string(name, getattr(self, name))
        try:
            import mlflow  # noqa: F401
        except ImportError as error:
            raise missing_package(self, "mlflow") from error

    def discard(self, runs: Collection[str]) -> None:
        """Deletes these runs."""
        client, _ = self._open()
        for run in list(self._find()):
            if run.info.run_name in runs:
                client.delete_run(run.info.run_id)

    def start(self, run: str, hyperparameters: Mapping[str, Any], step: int = 0) -> None:
        """Creates the run, or finds the one to continue."""
        from mlflow.entities import Param

        client, experiment = self._open()
        there = [one for one in self._find() if one.info.run_name == run] if step else []
        if there:
            self._run = there[0].info.run_id
            return
        tags = {_GROUP: self.group or self._own_group}
        self._run = client.create_run(experiment, tags=tags, run_name=run).info.run_id
        params = [Param(_as_key(name), str(value)) for name, value in hyperparameters.items()]
        for part in _pieces(params, _MOST_PARAMS):
            client.log_batch(self._run, params=part)

    def log(self, step: int, curves: Mapping[str, np.ndarray]) -> None:
        """Records the values of all curves."""
        self._record(
            (name, value, step + index)
            for name, values in curves.items()
            for index, value in enumerate(values.tolist())
        )

    def end(self, metrics: Mapping[str, Any], failed: bool) -> None:
        """Records the metrics that are no curves, and ends the run."""
        client, _ = self._open()
        known = client.get_run(self._run).data.metrics
        self._record((n, value, 0) for n, value in metrics.items() if _as_key(n) not in known)
        self._terminate("FAILED" if failed else "FINISHED")

    def close(self) -> None:
        """Ends a run that is not complete as killed; it can be continued."""
        if self._run:
            self._terminate("KILLED")

    def _terminate(self, status: str) -> None:
        client, _ = self._open()
        client.set_terminated(self._run, status)
        self._run = ""

    def _open(self) -> tuple[Any, str]:
        """The client, and the id of the experiment."""
        if self._opened is None:
            from mlflow import MlflowClient

            client = MlflowClient(self.tracking_uri)
            there = client.get_experiment_by_name(self.experiment)
            experiment = there.experiment_id if there else client.create_experiment(self.experiment)
            self._opened = client, experiment
        return self._opened

    def _find(self) -> Iterator[Any]:
        """The runs of the group."""
        client, experiment = self._open()
        wanted, token = f"tags.`{_GROUP}` = '{self.group or self._own_group}'", None
        while True:
            page = client.search_runs([experiment], wanted, max_results=_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _record(self, values: Iterator[tuple[str, Any, int]]) -> None:
        from mlflow.entities import Metric

        client, _ = self._open()
        now = int(time.time() * 1000)
        metrics = [Metric(_as_key(name), float(value), now, step) for name, value, step in values]
        for part in _pieces(metrics, _MOST_METRICS):
            client.log_batch(self._run, metrics=part)


def _as_key(name: str) -> str:
    """A name with the characters that MLflow takes."""
    return re.sub(r"[^\w\-./ ]", "_", name)


def _pieces(entries: list[Any], size: int) -> Iterator[Sequence[Any]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))
