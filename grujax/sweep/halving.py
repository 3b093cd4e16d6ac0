"""Successive halving: many trainings begin, and only the best go on for longer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax import Array

from grujax.sweep.population_contract import Functions
from grujax.sweep.population_search import Rung, prepare, run_search
from grujax.sweep.result import PopulationResult


def successive_halving(
    init: Callable[..., Any],
    step: Callable[..., Any],
    evaluate: Callable[..., dict[str, Array]],
    trials: Mapping[str, Any],
    *,
    key: Array,
    metric: str,
    rounds: int = 1,
    factor: int = 2,
    mode: str = "min",
    strategy: str | None = None,
    devices: Sequence[jax.Device] | None = None,
    directory: str | Path | None = None,
    progress: bool = True,
) -> PopulationResult:
    """Trains all n for some rounds, then the best n/η for η times as many more, and so on.

    The last rung has fewer than η members. All rungs take about the same time. Each has a program
    of its own, for its own number of members.

    Args:
        init, step, evaluate, trials, key, metric, mode: as for `population`; hyperparameters stay
            as they are.
        rounds: of the first rung; those of rung k are `rounds`·ηᵏ.
        factor: η.
        strategy, devices, directory, progress: as for `population`.

    Returns:
        A `PopulationResult`. `metrics` has the last value `[n]` of each metric, of those that
        stopped early as it was then; the curves `METRIC_by_round` `[n, all rounds]`, NaN after
        that; and `rounds` `[n]`, how many each had. `states` has those of the last rung.

    Raises:
        ValueError: as `population`, or for a factor below 2.
        KeyboardInterrupt: after Ctrl-C, with a line that says what is kept.

    Example:
        >>> def init(key, learning_rate):
        ...     return jax.random.normal(key)
        >>> def step(key, w, learning_rate):  # a step downhill on (w − 1)²
        ...     return w - learning_rate * 2 * (w - 1)
        >>> def evaluate(key, w, learning_rate):
        ...     return {"loss": (w - 1) ** 2}
        >>> from grujax.sweep import grid
        >>> trials = grid(learning_rate=[0.01, 0.02, 0.05, 0.1, 0.2, 0.4])
        >>> result = successive_halving(
        ...     init,
        ...     step,
        ...     evaluate,
        ...     trials,
        ...     key=jax.random.key(1),
        ...     metric="loss",
        ...     progress=False,
        ... )
        >>> sorted(result.metrics["rounds"].tolist())  # 6 members, then 3, then 1
        [1, 1, 1, 3, 3, 7]

    Reference:
        Jamieson & Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter
        Optimization", https://arxiv.org/abs/1502.07943
    """
    if rounds < 1:
        raise ValueError(f"`rounds` must be at least 1, got {rounds}.")
    if factor < 2:
        raise ValueError(f"`factor` must be at least 2, got {factor}.")
    search = prepare(
        Functions(init, step, evaluate),
        trials,
        key=key,
        metric=metric,
        mode=mode,
        strategy=strategy,
        devices=devices,
        directory=directory,
        progress=progress,
    )
    rungs, members = [], len(next(iter(search.trials.values())))
    while members:
        rungs.append(Rung(members, rounds))
        members, rounds = members // factor, rounds * factor
    settings = {"rungs": [list(rung) for rung in rungs]}
    return run_search(search._replace(rungs=tuple(rungs)), settings)
