"""Population-based training: many trainings that learn from each other which schedule is best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from grujax.checks import check_instance, check_integer, check_mapping
from grujax.sweep.contract import check_takes
from grujax.sweep.populations.programs import Functions
from grujax.sweep.populations.result import PopulationResult
from grujax.sweep.populations.search import Rung, prepare, run_search
from grujax.sweep.result import SweepResult
from grujax.sweep.selection import Exploit, Explore, truncation
from grujax.sweep.trials import count_trials
from grujax.sweep.values import MOST


def population(
    init: Callable[..., Any],
    step: Callable[..., Any],
    evaluate: Callable[..., dict[str, Array]],
    trials: Mapping[str, Any],
    *,
    key: Array,
    metric: str,
    rounds: int,
    explore: Mapping[str, Explore],
    exploit: Exploit | None = None,
    mode: str = "min",
    strategy: str | None = None,
    devices: Sequence[jax.Device] | int | None = None,
    directory: str | Path | None = None,
    resume: str = "checked",
    progress: bool = True,
) -> PopulationResult:
    """Population-based training: the worst members copy the best, and try other hyperparameters.

    Each member is a training with its own hyperparameters. A round is one compiled program: the
    members that `exploit` names copy state and hyperparameters of others, a gather on the leading
    axis of the states, and `explore` changes those hyperparameters; then every member takes its
    `step` and is evaluated. The first round has no exploitation.

    Args:
        init: `init(key, **hyperparameters) -> state`, a pytree of arrays: parameters, optimizer
            state, and whatever else the rest of the training depends on.
        step: `step(key, state, **hyperparameters) -> state`: all the updates of one round, such as
            a `lax.scan`. Its key differs for each member and round.
        evaluate: `evaluate(key, state, **hyperparameters) -> metrics`, a dict of real scalars. All
            members of a round get the same key, and so the same draws.
        trials: for each hyperparameter the members' first values, an array `[n]`, as `grid` and
            `sample` make them. All three functions are pure and get them as traced scalars.
        key: a JAX random key, from which all others are derived.
        metric: the metric to compare members by. NaN is worse than any number.
        rounds: the number of rounds. With a `directory`, a call with more rounds continues there.
        explore: for each hyperparameter that changes: `perturb`, `resample`, or a function
            `(key, value []) -> value []`. The others are copied unchanged.
        exploit: which members copy which: `truncation(0.25)` by default, or a function
            `(key, scores [n]) -> parents [n]`, see `grujax.sweep.selection`.
        mode: whether the least ("min") or the greatest ("max") metric is best.
        strategy: how a device runs its members; as for `run`.
        devices: the devices over which the members are spread; as for `run`.
        directory: where the population is written every ten seconds and at the end. The same call
            resumes there after the process was stopped or killed, and returns the same result. A
            disk that refuses a file does not stop the search: a warning says what is not saved.
        resume: what to do if the directory has finished rounds: "checked" goes on only if all
            functions compute the same as they did there, "anyway" in any case; see `run`.
        progress: as for `run`.

    Returns:
        A `PopulationResult`. `trials` are the first hyperparameters; `metrics` has the last value
        `[n]` of each metric, and curves `[n, rounds]`: `METRIC_by_round`, `HYPERPARAMETER_by_round`
        with the values used in each round (the schedule that was found), and `parent_by_round`, the
        member that was copied before the round: the same member, or another one (`lineage` follows
        it back). `diverged` flags members whose last metrics contain NaN. `states` has the trained
        states.

    Raises:
        ValueError: for hyperparameters of unequal length, or that cannot be traced; a function that
            is not pure, or returns something other than it should; an unknown metric, mode or
            strategy; or a `directory` that belongs to another sweep or other functions, that
            another process works in, or that cannot be read or written.
        KeyboardInterrupt: after Ctrl-C, with a line that says what is saved.

    Example:
        >>> def init(key, learning_rate):
        ...     return jax.random.normal(key)
        >>> def step(key, w, learning_rate):  # gradient descent on (w − 1)²
        ...     return jax.lax.fori_loop(0, 5, lambda _, w: w - learning_rate * 2 * (w - 1), w)
        >>> def evaluate(key, w, learning_rate):
        ...     return {"loss": (w - 1) ** 2}
        >>> from grujax.sweep import log_uniform, perturb, sample
        >>> result = population(
        ...     init,
        ...     step,
        ...     evaluate,
        ...     sample(jax.random.key(0), 8, learning_rate=log_uniform(1e-3, 1e-1)),
        ...     key=jax.random.key(1),
        ...     metric="loss",
        ...     rounds=6,
        ...     explore={"learning_rate": perturb(1e-4, 1.0)},
        ...     progress=False,
        ... )
        >>> best = result.best("loss")
        >>> best.metrics["learning_rate_by_round"].shape, result.states[best.trial].shape
        ((6,), ())

    Reference:
        Jaderberg et al. 2017, "Population Based Training of Neural Networks",
        https://arxiv.org/abs/1711.09846
    """
    exploit = truncation() if exploit is None else exploit
    check_takes("exploit", exploit, ("key", "scores"))
    rounds = check_integer("rounds", rounds, 1, MOST)
    check_mapping("explore", explore, "of functions such as `perturb(1e-4, 1e-1)`")
    ordered = tuple(sorted(explore.items()))
    functions = Functions(init, step, evaluate, exploit, ordered)
    search = prepare(
        functions, trials, key, metric, mode, strategy, devices, directory, resume, progress
    )
    for name, function in ordered:
        if name not in search.trials:
            raise ValueError(
                f"`explore` names `{name}`, but the hyperparameters are {', '.join(search.trials)}."
            )
        check_takes(f"explore[{name!r}]", function, ("key", "value"))
    rung = Rung(count_trials(search.trials), rounds)
    return run_search(search._replace(rungs=(rung,)), {})


def lineage(result: SweepResult, member: int) -> np.ndarray:
    """The ancestors of a member: the member in which its state was trained in each round.

    With `rounds = np.arange(len(ancestors))`, the schedule that led to this member is
    `result.metrics["learning_rate_by_round"][ancestors, rounds]`.

    Args:
        result: the result of `population`.
        member: the number of a member.

    Returns:
        Numbers of members, an integer array `[rounds]`; the last one is `member`.

    Raises:
        ValueError: for a result of another function, or a member that does not exist.

    Example:
        >>> from grujax.sweep import SweepResult
        >>> parents = np.array([[0, 1], [1, 1]])  # [n, rounds]: member 0 copies 1 before round 2
        >>> result = SweepResult({}, {"parent_by_round": parents}, np.zeros(2, bool))
        >>> lineage(result, 0).tolist()
        [1, 0]
    """
    check_instance("result", result, SweepResult, "population")
    parents = result.metrics.get("parent_by_round")
    if parents is None or parents.ndim != 2 or parents.dtype.kind != "i" or not parents.size:
        raise ValueError("`result` has no parents of its members: only `population` returns them.")
    if parents.min() < 0 or parents.max() >= len(parents):
        raise ValueError(f"`result` has parents that are not among its {len(parents)} members.")
    member = check_integer("member", member, 0, len(parents) - 1)
    line = [member]
    for column in parents[:, :0:-1].T:  # from the last round to the second
        line.append(int(column[line[-1]]))
    return np.array(line[::-1])
