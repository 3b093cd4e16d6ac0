"""Rounds of a population, one after the other: what `population` and `successive_halving` share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from grujax.sweep.population_contract import Functions, State
from grujax.sweep.population_history import PARENT, add_round, assemble, check_names, scores
from grujax.sweep.population_programs import Plan, Programs, programs_for
from grujax.sweep.population_storage import (
    Population,
    describe_function,
    fill_places,
    from_host,
    read_newest,
    take,
    to_host,
    write_population,
)
from grujax.sweep.programs import choose_strategy, describe_key, key_data
from grujax.sweep.progress import progress_bar, say_what_is_kept
from grujax.sweep.result import PopulationResult
from grujax.sweep.storage import claim, describe_sweep
from grujax.sweep.trials import Trials, check_trials

SAVE_SECONDS = 10.0  # between two files: what a kill loses at most, besides one round


class Rung(NamedTuple):
    """Rounds of as many members; those with the worst scores leave before the first."""

    members: int
    rounds: int


class Search(NamedTuple):
    """What is searched for, and where; see `grujax.sweep.population`."""

    functions: Functions
    trials: Trials
    rungs: tuple[Rung, ...]
    key: Array
    metric: str
    mode: str
    strategy: str
    devices: tuple[jax.Device, ...]
    directory: Path | None
    progress: bool

    @property
    def curves(self) -> tuple[str, ...]:
        """What the result tells of every round besides the metrics."""
        return () if self.functions.exploit is None else (*self.trials, PARENT)


def prepare(
    functions: Functions,
    trials: Any,
    *,
    key: Array,
    metric: str,
    mode: str,
    strategy: str | None,
    devices: Sequence[jax.Device] | None,
    directory: str | Path | None,
    progress: bool,
) -> Search:
    """Checks what can be checked before anything is traced; the rungs are to be filled in."""
    for name in ("init", "step", "evaluate"):
        function = getattr(functions, name)
        if not callable(function):
            raise ValueError(f"`{name}` must be a function, got {type(function).__name__}.")
    for name, values in trials.items() if isinstance(trials, dict) else ():
        if np.asarray(values).dtype.kind == "U":
            raise ValueError(f"`{name}` holds strings, which cannot be traced.")
    if mode not in ("min", "max"):
        raise ValueError(f'`mode` must be "min" or "max", got {mode!r}.')
    describe_key(key)  # refuses what is none
    places = tuple(jax.local_devices() if devices is None else devices)
    return Search(
        functions,
        check_trials(trials, ()),
        (),
        key,
        metric,
        mode,
        choose_strategy(strategy, places),
        places,
        None if directory is None else Path(directory),
        progress,
    )


def run_search(search: Search, settings: dict[str, Any]) -> PopulationResult:
    """Runs all rungs, or what is missing of them in `search.directory`.

    Args:
        search: what to do.
        settings: what else makes it another search, as JSON values.
    """
    folder, total = search.directory, sum(rung.rounds for rung in search.rungs)
    population = _first(search)
    if folder is not None:
        names = ("init", "step", "evaluate")
        about = {name: describe_function(getattr(search.functions, name)) for name in names}
        about |= {"metric": search.metric, "mode": search.mode} | settings
        claim(folder, describe_sweep(about, search.trials, search.key))
        population = read_newest(folder) or population
    if population.rounds > total:
        raise ValueError(
            f"`directory` {folder} holds {population.rounds} rounds already, more than {total}."
        )
    saved, saved_at = population.rounds, time.perf_counter()
    with progress_bar(search.progress, total, population.rounds, "round") as bar:
        try:
            for now in _rounds(search, population):
                population = now
                if bar is not None:
                    bar.update(1)
                late = time.perf_counter() - saved_at >= SAVE_SECONDS
                if folder is not None and (late or population.rounds == total):
                    write_population(folder, to_host(population))
                    saved, saved_at = population.rounds, time.perf_counter()
        except KeyboardInterrupt:
            if folder is not None and saved < population.rounds:
                write_population(folder, to_host(population))
            say_what_is_kept(population.rounds, total, "round", folder)
            raise
    init, curves = search.functions.init, search.curves
    return assemble(to_host(population), init, search.trials, search.key, curves)


def _first(search: Search) -> Population:
    members = np.arange(len(next(iter(search.trials.values()))), dtype=np.int32)
    values = {
        name: array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
        for name, array in search.trials.items()
    }
    return Population(0, members, [], values, {})


def _rounds(search: Search, population: Population) -> Iterator[Population]:
    """The population after each round that is missing, with its states on the devices."""
    end = 0
    for rung in search.rungs:
        end += rung.rounds
        if population.rounds >= end:
            continue
        population = _keep_best(search, to_host(population), rung.members)
        plan = Plan(
            len(population.members),
            tuple((name, array.dtype.name) for name, array in population.values.items()),
            describe_key(search.key),
            search.strategy,
            search.devices,
        )
        programs = programs_for(search.functions, plan)
        check_names(population, search.metric, programs.shapes.metrics, search.curves)
        population = population._replace(states=_begin(search, programs, population))
        while population.rounds < end:
            population = _run_round(search, programs, population)
            yield population


def _begin(search: Search, programs: Programs, population: Population) -> State:
    """The states on the devices: the first ones, or those that were there."""
    if population.rounds == 0:
        return programs.begin(key_data(search.key), population.members, population.values)
    states = from_host(population.states, programs.shapes.state)
    places = fill_places(len(population.members), len(search.devices))
    return jax.device_put(jax.tree.map(lambda leaf: leaf[places], states), programs.own)


def _run_round(search: Search, programs: Programs, population: Population) -> Population:
    outputs = programs.advance(
        key_data(search.key),
        np.int32(population.rounds),
        population.members,
        population.states,
        population.values,
        scores(population, search.metric, search.mode),
    )
    parents, states, values, metrics = outputs
    return add_round(
        population._replace(states=states, values=_on_host(values)),
        _on_host(metrics),
        np.asarray(parents),
    )


def _on_host(arrays: dict[str, Array]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in arrays.items()}


def _keep_best(search: Search, population: Population, count: int) -> Population:
    order = np.argsort(-scores(population, search.metric, search.mode), kind="stable")
    return take(population, np.sort(order[:count]))
