"""The result of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from grujax.checks import (
    check_choice,
    check_mapping,
    check_path,
    check_string,
    describe,
    has_an_end,
)
from grujax.sweep.loggers import choose_loggers, open_log
from grujax.sweep.storage import (
    Chunk,
    add_prefix,
    load_search,
    load_sweep,
    missing_trials,
    read_arrays,
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

    Raises:
        ValueError: unless all have the same n, at least 1: hyperparameters that are numbers, bools
            or strings, metrics that are numbers or bools.

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

    def __post_init__(self) -> None:
        """Checks the arrays."""
        diverged = as_values("diverged", self.diverged, "bools", "b")
        if diverged.ndim != 1 or not len(diverged):
            raise ValueError(
                f"`diverged` must be a bool for each trial, got shape {list(diverged.shape)}."
            )
        parts: dict[str, Any] = {"diverged": diverged}
        for part, of, kinds in (
            ("trials", "numbers, bools or strings", "biufcU"),
            ("metrics", "numbers or bools", "biufc"),
        ):
            arrays = {
                name: as_values(f"{part}[{name!r}]", array, of, kinds)
                for name, array in check_mapping(part, getattr(self, part), "of arrays").items()
            }
            for name, array in arrays.items():
                shape = array.shape if part == "trials" else array.shape[:1]
                if shape != diverged.shape:
                    raise ValueError(
                        f"`{part}[{name!r}]` must have a value for each of {len(diverged)} trials, "
                        f"got shape {list(array.shape)}."
                    )
            parts[part] = arrays
        for part, value in parts.items():
            object.__setattr__(self, part, value)  # the class is frozen

    def best(self, metric: str, mode: str = "min") -> Best:
        """The trial with the least (or `mode="max"`: greatest) value of a scalar metric.

        A trial whose value is NaN never wins, whatever the others are; one with NaN in other
        metrics may. Of equal trials the first wins.

        Args:
            metric: the name of a metric `[n]` of real numbers or bools.
            mode: "min" or "max".

        Returns:
            The number of the trial, its hyperparameters, and its metrics.

        Raises:
            ValueError: for a metric that is unknown, complex or not a scalar, an unknown mode, or
                if the value is NaN in every trial.
        """
        values = self.scalar(metric)
        check_mode(mode)
        if values.dtype.kind == "c":
            raise ValueError(f"`metric` is {metric!r}, whose complex numbers have no order.")
        valid = np.flatnonzero(~np.isnan(values))
        if not len(valid):
            raise ValueError(f"`metric` is {metric!r}, which is NaN in all {len(values)} trials.")
        choose = np.argmin if mode == "min" else np.argmax
        index = int(valid[choose(values[valid])])
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
        check_string("metric", metric)
        if metric not in self.metrics:
            names = ", ".join(f"`{name}`" for name in self.metrics) or "none"
            raise ValueError(f"`metric` is {metric!r}, but the metrics of this sweep are {names}.")
        values = self.metrics[metric]
        if values.ndim != 1:
            raise ValueError(
                f"`metric` is {metric!r}, a curve of shape {list(values.shape[1:])}, and trials "
                "are compared by scalars: let `train` return its last or best value under a "
                "separate name."
            )
        return values

    def table(self) -> DataFrame:
        """A pandas DataFrame with one row per trial: hyperparameters, scalar metrics, `diverged`.

        Raises:
            ValueError: two columns would have the same name.
            ImportError: without pandas.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("`table` needs pandas: pip install 'grujax[sweep]'.") from error
        scalars = {
            name: array.astype(float) if array.dtype.kind == "V" else array  # bfloat16
            for name, array in self.metrics.items()
            if array.ndim == 1
        }
        columns = [*self.trials.items(), *scalars.items(), ("diverged", self.diverged)]
        names = [name for name, _ in columns]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(
                f"The table would have two columns `{twice[0]}`: the names of hyperparameters and "
                "metrics must differ for it."
            )
        return pandas.DataFrame(dict(columns)).rename_axis("trial")

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
        from grujax.sweep.plots.overview import plot_sweep

        return plot_sweep(self, metric, mode)

    def log(self, log_to: Any) -> None:
        """Records all trials in loggers, such as TensorBoard; `run` and `search` do it meanwhile.

        Runs of these trials that a logger has are replaced. A member of a population is a trial.

        Args:
            log_to: a logger or several, as for `run`.

        Raises:
            ValueError: something else, or the name of a logger that needs a folder.
            ImportError: the package of a logger is not installed.
        """
        numbers = range(len(self.diverged))
        with open_log(choose_loggers(log_to, None), None, numbers) as log:
            log.record(numbers, self.trials, self.metrics, self.diverged)

    def save(self, path: str | Path) -> None:
        """Writes trials, metrics and `diverged` to one .npz file.

        Raises:
            ValueError: the path is that of a folder, or in a folder that does not exist.
        """
        file = check_path("path", path)
        if file.is_dir() or not file.parent.is_dir():
            where = "is a folder" if file.is_dir() else "is in a folder that does not exist"
            raise ValueError(f"`path` must be that of a file, but {file} {where}.")
        arrays = add_prefix("trial", self.trials) | add_prefix("metric", self.metrics)
        write_arrays(file, {"diverged": self.diverged} | arrays)

    @classmethod
    def load(cls, path: str | Path) -> SweepResult:
        """Reads a file of `save`, or the `directory` of a search or a sweep, run by any processes.

        Raises:
            ValueError: there is no such file, it was not written by `save` or is damaged, or trials
                are missing in the directory.
        """
        place = check_path("path", path)
        if place.is_dir():
            return _load_directory(place)
        if not place.exists():
            raise ValueError(f"`path` must be that of a result, but {place} does not exist.")
        arrays = read_arrays(place)
        if "diverged" not in arrays:
            raise ValueError(f"`path` must be that of a result, but `save` did not write {place}.")
        return cls(with_prefix("trial", arrays), with_prefix("metric", arrays), arrays["diverged"])


def check_mode(mode: Any) -> None:
    """Raises ValueError unless the mode is "min" or "max"."""
    check_choice("mode", mode, ("min", "max"))


def assemble(trials: Trials, chunks: list[Chunk], selected: np.ndarray) -> SweepResult:
    """Combines the chunks into a result of the selected trials, whose indices are sorted."""
    total = count_trials(trials)
    diverged = np.zeros(total, bool)
    for chunk in chunks:
        diverged[chunk.indices] = chunk.diverged
    metrics = {}
    if any(chunk.metrics.keys() != chunks[0].metrics.keys() for chunk in chunks):
        raise ValueError(
            "`directory` holds trials with other metrics: `train` returned "
            f"{sorted(chunks[0].metrics)} there, and returns {sorted(chunks[-1].metrics)} now."
        )
    for name in chunks[0].metrics:
        parts = [chunk.metrics[name] for chunk in chunks]
        shape = max(part.shape[1:] for part in parts)
        dtype = np.dtype(reduce(jnp.promote_types, [part.dtype for part in parts]))
        is_floating = jnp.issubdtype(dtype, np.inexact)
        metrics[name] = np.full((total, *shape), np.nan if is_floating else 0, dtype)
        for chunk, array in zip(chunks, parts, strict=True):
            rows = chunk.indices if array.ndim == 1 else (chunk.indices, slice(array.shape[1]))
            metrics[name][rows] = array
    return SweepResult(
        {name: array[selected] for name, array in trials.items()},
        {name: array[selected] for name, array in metrics.items()},
        diverged[selected],
    )


def as_values(name: str, value: Any, of: str, kinds: str) -> np.ndarray:
    """An array whose dtype is of one of these kinds; `of` names them."""
    try:
        if not has_an_end(value):
            raise TypeError
        array = np.asarray(value)
        is_extended = "f" in kinds and jnp.issubdtype(array.dtype, np.number)  # bfloat16
        fits = array.dtype.kind in kinds or is_extended
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"`{name}` must be an array of {of}, got {describe(value)}.")
    return array


def _load_directory(directory: Path) -> SweepResult:
    trials, chunks = load_search(directory) or load_sweep(directory)
    everything = np.arange(count_trials(trials))
    missing = missing_trials(everything, chunks)
    if len(missing):
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"{directory} lacks {len(missing)} of {len(everything)} trials ({shown}): run the "
            "processes again that have these in their share; each resumes."
        )
    return assemble(trials, chunks, everything)
