"""Hyperparameter sweeps: many trainings at once, on every device, resumable.

    trials = grid(learning_rate=[1e-3, 1e-2], seed=range(8))
    result = run(train, trials, key=jax.random.key(0), directory="runs/my_sweep")
    result.best("loss")

`train(key, **hyperparameters) -> metrics` is a pure JAX function; `run` says what that means.
`search` lets Optuna choose the trials. Both record them in loggers, such as TensorBoard.
`population` and `successive_halving` compare trainings while they run; they take a training in
three parts: `init`, `step` and `evaluate`.
"""

from grujax.sweep.distributions import choice, integer, log_uniform, uniform
from grujax.sweep.loggers import (
    CSVLogger,
    JSONLinesLogger,
    Logger,
    MLflowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from grujax.sweep.plan import trial_key
from grujax.sweep.plots.marginals import plot_marginals
from grujax.sweep.plots.parallel import plot_parallel
from grujax.sweep.populations.halving import successive_halving
from grujax.sweep.populations.result import PopulationResult
from grujax.sweep.populations.training import lineage, population
from grujax.sweep.result import SweepResult
from grujax.sweep.running import run
from grujax.sweep.searches.loop import SearchResult
from grujax.sweep.searches.search import search
from grujax.sweep.selection import perturb, resample, truncation
from grujax.sweep.trials import grid, sample

__all__ = [
    "CSVLogger",
    "JSONLinesLogger",
    "Logger",
    "MLflowLogger",
    "PopulationResult",
    "SearchResult",
    "SweepResult",
    "TensorBoardLogger",
    "WandbLogger",
    "choice",
    "grid",
    "integer",
    "lineage",
    "log_uniform",
    "perturb",
    "plot_marginals",
    "plot_parallel",
    "population",
    "resample",
    "run",
    "sample",
    "search",
    "successive_halving",
    "trial_key",
    "truncation",
    "uniform",
]
