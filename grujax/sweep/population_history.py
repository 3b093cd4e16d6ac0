"""What a population did from round to round, and the result that is made of it.

The history has an array `[n, rounds]` for each metric, each hyperparameter and the parents. Where a
member does not run any more its floating numbers are NaN, and its parent is -1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array

from grujax.sweep.population_contract import as_state
from grujax.sweep.population_storage import Population, from_host
from grujax.sweep.purity import Metrics
from grujax.sweep.result import PopulationResult
from grujax.sweep.trials import Trials

PARENT = "parent"


def add_round(
    population: Population, metrics: dict[str, np.ndarray], parents: np.ndarray
) -> Population:
    """Counts a round, and adds a column to the history: the hyperparameters are those of now.

    Args:
        population: after the round, with the history before it.
        metrics: of the m members or, filled up, of more slots.
        parents: whom each member had taken over from, `[m]`, as places among the m.
    """
    members, history = population.members, {}
    columns = metrics | population.values | {PARENT: members[parents]}
    for name, new in columns.items():
        before = population.history.get(name)
        if before is None:  # the first round, in which all members run
            before = np.zeros((len(members), 0), new.dtype)
        column = np.full((len(before), 1), np.nan if new.dtype.kind == "f" else -1, new.dtype)
        column[members, 0] = new[: len(members)]
        history[name] = np.concatenate([before, column], axis=1)
    return population._replace(rounds=population.rounds + 1, history=history)


def scores(population: Population, metric: str, mode: str) -> np.ndarray:
    """Of the members `[m]`, by their last metric: greater is better, −∞ for NaN; 0 at first."""
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    if population.rounds == 0:
        return np.zeros(len(population.members), dtype)
    values = population.history[metric][population.members, -1]
    signed = values if mode == "max" else -values
    return np.where(np.isnan(signed), -np.inf, signed).astype(dtype)


def check_names(
    population: Population, metric: str, metrics: Metrics, curves: tuple[str, ...]
) -> None:
    """Raises ValueError unless the metrics can be told from everything else."""
    if metric not in metrics:
        names = ", ".join(f"`{name}`" for name in metrics)
        raise ValueError(f"`metric` is {metric!r}, but `evaluate` returns {names}.")
    every = [*population.values, *metrics, "rounds", PARENT]
    every += [f"{name}_by_round" for name in (*metrics, *curves)]
    twice = [name for name in every if every.count(name) > 1]
    if twice:
        raise ValueError(
            f"The result would have two entries `{twice[0]}`: rename a hyperparameter, or a metric "
            "that `evaluate` returns."
        )
    there = population.history.keys() - {*population.values, PARENT}
    if population.history and there != metrics.keys():
        raise ValueError(
            f"`directory` holds the metrics {sorted(there)}, and `evaluate` returns "
            f"{sorted(metrics)} now."
        )


def assemble(
    population: Population, init: Callable, trials: Trials, key: Array, curves: tuple[str, ...]
) -> PopulationResult:
    """The result of a population whose states are on the host.

    Args:
        population: after its last round.
        init: makes the state of a member; only traced.
        trials: the hyperparameters at first.
        key: the random key of the search.
        curves: what else than metrics the result tells of every round.
    """
    history, values = population.history, population.values
    ran = (history[PARENT] >= 0).sum(1)  # rounds of each trial
    names = [name for name in history if name not in (*values, PARENT)]
    metrics: dict[str, np.ndarray] = {
        name: history[name][np.arange(len(ran)), ran - 1] for name in names
    }
    diverged = np.any([np.isnan(last) for last in metrics.values()], axis=0)
    if not curves:
        metrics["rounds"] = ran
    metrics |= {f"{name}_by_round": history[name] for name in (*names, *curves)}
    structs = {name: jax.ShapeDtypeStruct((), array.dtype) for name, array in values.items()}
    shapes = jax.eval_shape(lambda key, values: as_state(init(key, **values), "init"), key, structs)
    states = from_host(population.states, shapes)
    by_member: dict[int, Any] = {
        int(member): jax.tree.map(lambda leaf, place=place: leaf[place], states)
        for place, member in enumerate(population.members)
    }
    return PopulationResult(dict(trials), metrics, diverged, by_member)
