"""Successive halving: many trainings start, and only the best continue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax import Array

from grujax.checks import check_integer
from grujax.sweep.populations.programs import Functions
from grujax.sweep.populations.result import PopulationResult
from grujax.sweep.populations.search import Rung, prepare, run_search
from grujax.sweep.trials import count_trials
from grujax.sweep.values import MOST


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
    devices: Sequence[jax.Device] | int | None = None,
    directory: str | Path | None = None,
    resume: str = "checked",
    progress: bool = True,
) -> PopulationResult:
    """Trains all n members for some rounds, then the best n/η for η times as many more, and so on.

    The last rung has fewer than η members. All rungs take about the same time. Each rung compiles
    its own program, for its number of members.

    Args:
        init, step, evaluate, trials, key, metric, mode: as for `population`; hyperparameters do
            not change.
        rounds: the rounds of the first rung; rung k has `rounds`·ηᵏ.
        factor: η.
        strategy, devices, directory, resume, progress: as for `population`.

    Returns:
        A `PopulationResult`. `metrics` has the last value `[n]` of each metric, which is that of
        the last round for members that stopped early; the curves `METRIC_by_round`
        `[n, all rounds]`, NaN after a member has stopped; and `rounds` `[n]`, the number of rounds
        of each member. `states` has the states of the last rung.

    Raises:
        ValueError: as `population`, and for a factor that is no integer of at least 2.
        KeyboardInterrupt: after Ctrl-C, with a line that says what is saved.

    Example:
        >>> def init(key, learning_rate):
        ...     return jax.random.normal(key)
        >>> def step(key, w, learning_rate):  # gradient descent on (w − 1)²
        ...     return w - learning_rate * 2 * (w - 1)
        >>> def evaluate(key, w, learning_rate):
        ...     return {"loss": (w - 1) ** 2}
        >>> from grujax.sweep import grid
        >>> result = successive_halving(
        ...     init,
        ...     step,
        ...     evaluate,
        ...     grid(learning_rate=[0.01, 0.02, 0.05, 0.1, 0.2, 0.4]),
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
    rounds = check_integer("rounds", rounds, 1, MOST)
    factor = check_integer("factor", factor, 2, MOST)
    functions = Functions(init, step, evaluate)
    search = prepare(
        functions, trials, key, metric, mode, strategy, devices, directory, resume, progress
    )
    rungs, members = [], count_trials(search.trials)
    while members:
        rungs.append(Rung(members, rounds))
        members, rounds = members // factor, rounds * factor
    settings = {"rungs": [list(rung) for rung in rungs]}
    return run_search(search._replace(rungs=tuple(rungs)), settings)
