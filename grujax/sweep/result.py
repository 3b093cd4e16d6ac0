"""What a sweep found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from grujax.sweep.storage import Chunk, read_chunks, read_trials
from grujax.sweep.trials import Trials

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
        trials: for each hyperparameter its values, `[n]`.
        metrics: for each metric its values: `[n]` for a scalar, `[n, ...]` for a curve. A floating
            curve that is shorter in some trials is filled up with NaN there.
        diverged: `[n]` bool, whether `train` returned a NaN in any metric.
    """

    trials: Trials
    metrics: dict[str, np.ndarray]
    diverged: np.ndarray

    def best(self, metric: str, mode: str = "min") -> Best:
        """The trial with the least (or `mode="max"`: greatest) value of a scalar metric.

        NaN never wins; a trial whose other metrics hold NaN may.

        Raises:
            ValueError: for a metric that is not in the result or no scalar, an unknown mode, or
                where every trial's value is NaN.
        """
        values = self.scalar(metric)
        if mode not in ("min", "max"):
            raise ValueError(f'`mode` must be "min" or "max", got {mode!r}.')
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
        """The values `[n]` of a scalar metric; raises ValueError if there is none of this name."""
        if metric not in self.metrics:
            names = ", ".join(f"`{name}`" for name in self.metrics)
            raise ValueError(f"`{metric}` is not among the metrics of this sweep: {names}.")
        values = self.metrics[metric]
        if values.ndim != 1:
            raise ValueError(
                f"`{metric}` is a curve of shape {list(values.shape[1:])}, and trials are compared "
                "by scalars: let `train` return its last or best value under a name of its own."
            )
        return values

    def table(self) -> DataFrame:
        """A pandas frame with a row a trial: hyperparameters, scalar metrics, and `diverged`."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("`table` needs pandas: pip install 'grujax[sweep]'.") from error
        scalars = {name: array for name, array in self.metrics.items() if array.ndim == 1}
        return pandas.DataFrame(self.trials | scalars | {"diverged": self.diverged}).rename_axis(
            "trial"
        )

    def plot(self, metric: str, mode: str = "min") -> Figure:
        """Draws the sweep: three rows, with the best trial by `metric` marked in each.

        Parallel coordinates, a line a trial, coloured by the metric; the metric against each
        hyperparameter; and the learning curves of all trials. A hyperparameter or metric that is
        positive and spans more than a factor of 30 has a logarithmic axis.

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
        """Writes everything to one .npz file."""
        arrays: dict[str, Any] = {f"trial/{name}": array for name, array in self.trials.items()}
        arrays |= {f"metric/{name}": array for name, array in self.metrics.items()}
        with Path(path).open("wb") as file:
            np.savez(file, allow_pickle=False, diverged=self.diverged, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> SweepResult:
        """Reads what `save` wrote, or the `directory` of a sweep, whoever has run its trials.

        Raises:
            ValueError: trials are missing in the directory.
        """
        if Path(path).is_dir():
            return _load_directory(Path(path))
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }

        return cls(part("trial/"), part("metric/"), arrays["diverged"])


@dataclass(frozen=True)
class PopulationResult(SweepResult):
    """What `population` or `successive_halving` found: a `SweepResult` with the trained states.

    Attributes:
        states: for each member that ran to the end its last state, a pytree of arrays. `save` does
            not write them.
    """

    states: dict[int, Any] = field(default_factory=dict)


def assemble(trials: Trials, chunks: list[Chunk], own: np.ndarray) -> SweepResult:
    """Puts chunks together, and takes of the sweep's trials those of `own` in order."""
    total = len(next(iter(trials.values())))
    diverged = np.zeros(total, bool)
    metrics = {}
    if any(part.metrics.keys() != chunks[0].metrics.keys() for part in chunks):
        raise ValueError(
            "`directory` holds trials with other metrics: `train` returned "
            f"{sorted(chunks[0].metrics)} there, and returns {sorted(chunks[-1].metrics)} now."
        )
    for name in chunks[0].metrics:
        parts = [part.metrics[name] for part in chunks]
        shape = max(part.shape[1:] for part in parts)
        filler = np.nan if parts[0].dtype.kind in "fc" else 0
        metrics[name] = np.full((total, *shape), filler, parts[0].dtype)
        for part, array in zip(chunks, parts, strict=True):
            if array.dtype.kind in "fc":
                diverged[part.indices] |= np.isnan(array).reshape(len(array), -1).any(1)
            if array.ndim == 1:
                metrics[name][part.indices] = array
            else:
                metrics[name][part.indices, : array.shape[1]] = array
    return SweepResult(
        {name: array[own] for name, array in trials.items()},
        {name: array[own] for name, array in metrics.items()},
        diverged[own],
    )


def _load_directory(directory: Path) -> SweepResult:
    trials, chunks = read_trials(directory), read_chunks(directory)
    everything = np.arange(len(next(iter(trials.values()))))
    missing = np.setdiff1d(everything, np.concatenate([[-1], *[c.indices for c in chunks]]))
    if len(missing):
        shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"{directory} lacks {len(missing)} of {len(everything)} trials ({shown}): run the "
            "processes whose share they are again; each goes on where it was stopped."
        )
    return assemble(trials, chunks, everything)
