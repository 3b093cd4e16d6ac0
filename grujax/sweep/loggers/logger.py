"""What a logger is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np


class Logger(ABC):
    """Records runs, one after the other: the trials of a sweep, or the trainings of a program.

    For each run come one `start`, any number of `log`, and one `end`. Derive your own logger from
    this class. What its methods raise becomes a warning, and the sweep goes on without it.

    Example:
        >>> class Printer(Logger):
        ...     def start(self, run, hyperparameters, step=0):
        ...         print(run, hyperparameters)
        ...     def log(self, step, curves):
        ...         print({name: values.tolist() for name, values in curves.items()})
        ...     def end(self, metrics, failed):
        ...         print(metrics, "failed" if failed else "finished")
        >>> from grujax import sweep
        >>> def train(key, rate):
        ...     return {"loss": rate / 2, "losses": rate / jnp.array([1.0, 2.0])}
        >>> options = {"key": jax.random.key(0), "progress": False}
        >>> _ = sweep.run(train, {"rate": [0.5]}, log_to=Printer(), **options)
        trial-000000 {'rate': 0.5}
        {'losses': [0.5, 0.25]}
        {'loss': 0.25} finished
    """

    def discard(self, runs: Collection[str]) -> None:
        """Forgets what is recorded of these runs, because they are recorded anew."""
        return

    @abstractmethod
    def start(self, run: str, hyperparameters: Mapping[str, Any], step: int = 0) -> None:
        """Begins a run, or continues one that an earlier program began.

        Args:
            run: its name, such as "trial-000012".
            hyperparameters: numbers, bools and strings.
            step: the first step that will be logged; 0 for a new run.
        """

    @abstractmethod
    def log(self, step: int, curves: Mapping[str, np.ndarray]) -> None:
        """Records the next steps of the run.

        Args:
            step: the first of them.
            curves: the real values of each metric `[n]` at the steps `step`, `step + 1`, …
        """

    @abstractmethod
    def end(self, metrics: Mapping[str, Any], failed: bool) -> None:
        """Ends the run.

        Args:
            metrics: its scalar results `[]`, real numbers and bools.
            failed: whether anything in it is NaN.
        """

    def close(self) -> None:
        """The program ends, perhaps in the middle of a run."""
        return


def rows_of(curves: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """The values of curves `[n]`, step by step; those that are shorter end earlier."""
    lists = {name: values.tolist() for name, values in curves.items()}
    for index in range(max(map(len, lists.values()), default=0)):
        yield {name: values[index] for name, values in lists.items() if index < len(values)}


def missing_package(logger: Logger, package: str, extra: str = "") -> ImportError:
    """The error of a logger whose package is not installed."""
    how = f"'grujax[{extra}]'" if extra else package
    return ImportError(f"`{type(logger).__name__}` needs {package}: pip install {how}.")
