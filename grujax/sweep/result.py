"""The result of a sweep or of a population."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from grujax.sweep.storage import (
    Chunk,
    add_prefix,
    missing_trials,
    read_arrays,
    read_chunks,
    read_trials,
    with_prefix,
    write_arrays,
)
from grujax.sweep.trials import Trials, count_trials

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Best(NamedTuple):
    """The best trial: its number, hyperparameters and metrics."""

    trial: int
    hyperparameters: dict[str, Any]
    metrics: dict[str, Any]


@dataclass(frozen=True)
class SweepResult:
    """The hyperparameters and metrics of n trials.

    Attributes:
        trials: the values of each hyperparameter, `[n]`.
        metrics: the values of each metric: `[n]` for a scalar, `[n, ...]` for a curve. Floating
            curves that are shorter in some trials are padded with NaN.
        diverged: `[n]` bool, whether any metric of the trial contains NaN.

    Example:
        >>> result = SweepResult(
        ...     {"rate": np.array([0.1, 0.2])}, {"loss": np.array([3.0, 2.0])}, np.zeros(2, bool)
        ... )
        >>> result.best("loss").hyperparameters
        {'rate': 0.2}
    """

    trials: Trials
    metrics: dict[str, np.ndarray]
    diverged: np.ndarray

    def best(self, metric: str, mode: str = "min") -> Best:
        """The trial with the least (or `mode="max"`: greatest) value of a scalar metric.

        A trial whose value is NaN never wins; one with NaN in other metrics may.

        Raises:
            ValueError: for a metric that is unknown or not a scalar, an unknown mode, or if the
                value is NaN in every trial.
        """
        values = self.scalar(metric)
        check_mode(mode)
        if np.all(np.isnan(values)):
            raise ValueError(f"`{metric}` is NaN in all {len(values)} trials.")
        index = int(np.nanargmin(values) if mode == "min" else np.nanargmax(values))
        return Best(
            index,
            {name: array[index].item() for name, array in self.trials.items()},
            {
                name: array[index].item() if array.ndim == 1 else array[index]
                for name, array in self.metrics.items()
            },
        )

    def scalar(self, metric: str) -> np.ndarray:
        """The values `[n]` of a scalar metric. Raises ValueError if there is none of this name."""
        if metric not in self.metrics:
            names = ", ".join(f"`{name}`" for name in self.metrics)
            raise ValueError(f"`{metric}` is not among the metrics of this sweep: {names}.")
        values = self.metrics[metric]
        if values.ndim != 1:
            raise ValueError(
                f"`{metric}` is a curve of shape {list(values.shape[1:])}, and trials are compared "
                "by scalars: let `train` return its last or best value under a separate name."
            )
        return values

    def table(self) -> DataFrame:
        """A pandas DataFrame with one row per trial: hyperparameters, scalar metrics, `diverged`.

        Raises:
            ImportError: without pandas.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("`table` needs pandas: pip install 'grujax[sweep]'.") from error
        scalars = {name: array for name, array in self.metrics.items() if array.ndim == 1}
        return pandas.DataFrame(self.trials | scalars | {"diverged": self.diverged}).rename_axis(
            "trial"
        )

    def plot(self, metric: str, mode: str = "min") -> Figure:
        """Plots the sweep in three rows; the best trial by `metric` is marked in each.

        The rows show parallel coordinates, one line per trial, colored by the metric; the metric
        against each hyperparameter; and the learning curves of all trials. The axis of a positive
        hyperparameter or metric that spans more than a factor of 30 is logarithmic.

        Args:
            metric: the name of a scalar metric.
            mode: whether the least ("min") or greatest ("max") value is best.

        Returns:
            A matplotlib figure, for `savefig`.

        Raises:
            ValueError: as `best`.
            ImportError: without matplotlib.
        """
        from grujax.sweep.plots import plot_sweep

        return plot_sweep(self, metric, mode)

    def save(self, path: str | Path) -> None:
        """Writes trials, metrics and `diverged` to one .npz file."""
        arrays = add_prefix("trial", self.trials) | add_prefix("metric", self.metrics)
        write_arrays(Path(path), {"diverged": self.diverged} | arrays)

    @classmethod
    def load(cls, path: str | Path) -> SweepResult:
        """Reads a file written by `save`, or the `directory` of a sweep, run by any processes.

        Raises:
            ValueError: trials are missing in the directory.
        """
        if Path(path).is_dir():
            return _load_directory(Path(path))
        arrays = read_arrays(Path(path))
        return cls(with_prefix("trial", arrays), with_prefix("metric", arrays), arrays["diverged"])


@dataclass(frozen=True)
class PopulationResult(SweepResult):
    """The result of `population` or `successive_halving`: a `SweepResult` with trained states.

    Attributes:
        states: the last state of each member that ran to the end, a pytree of arrays. `save` does
            not write them.
    """

    states: dict[int, Any] = field(default_factory=dict)


def check_mode(mode: str) -> None:
    """Raises ValueError unless the mode is "min" or "max"."""
    if mode not in ("min", "max"):
        raise ValueError(f'`mode` must be "min" or "max", got {mode!r}.')


def assemble(trials: Trials, chunks: list[Chunk], selected: np.ndarray) -> SweepResult:
    """Combines the chunks into a result of the selected trials, whose indices are sorted."""
    total = count_trials(trials)
    diverged = np.zeros(total, bool)
    metrics = {}
    if any(chunk.metrics.keys() != chunks[0].metrics.keys() for chunk in chunks):
        raise ValueError(
            "`directory` holds trials with other metrics: `train` returned "
            f"{sorted(chunks[0].metrics)} there, and returns {sorted(chunks[-1].metrics)} now."
        )
    for name in chunks[0].metrics:
        parts = [chunk.metrics[name] for chunk in chunks]
        shape = max(part.shape[1:] for part in parts)
        is_floating = parts[0].dtype.kind in "fc"
        metrics[name] = np.full((total, *shape), np.nan if is_floating else 0, parts[0].dtype)
        for chunk, array in zip(chunks, parts, strict=True):
            if is_floating:
                diverged[chunk.indices] |= np.isnan(array).reshape(len(array), -1).any(1)
            rows = chunk.indices if array.ndim == 1 else (chunk.indices, slice(array.shape[1]))
            metrics[name][rows] = array
    return SweepResult(
        {name: array[selected] for name, array in trials.items()},
        {name: array[selected] for name, array in metrics.items()},
        diverged[selected],
    )


def _load_directory(directory: Path) -> SweepResult:
    trials, chunks = read_trials(directory), read_chunks(directory)
    everything = np.arange(count_trials(trials))
    missing = missing_trials(everything, chunks)
    if len(missing):
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"{directory} lacks {len(missing)} of {len(everything)} trials ({shown}): run the "
            "processes again that have these in their share; each resumes."
        )
    return assemble(trials, chunks, everything)
