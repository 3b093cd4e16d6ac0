"""Hyperparameter sweeps: many trainings at once, on every device, resumable.

    trials = grid(learning_rate=[1e-3, 1e-2], seed=range(8))
    result = run(train, trials, key=jax.random.key(0), directory="runs/my_sweep")
    result.best("loss")

`train(key, **hyperparameters) -> metrics` is a pure JAX function; `run` says what that means.
"""

from grujax.sweep.result import SweepResult
from grujax.sweep.running import run, trial_key
from grujax.sweep.trials import choice, grid, integer, log_uniform, sample, uniform

__all__ = [
    "SweepResult",
    "choice",
    "grid",
    "integer",
    "log_uniform",
    "run",
    "sample",
    "trial_key",
    "uniform",
]
