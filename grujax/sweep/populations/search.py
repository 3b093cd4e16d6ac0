"""Rounds of a population, one after the other: what `population` and `successive_halving` share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from grujax.sweep.contract import State
from grujax.sweep.plan import Plan, choose_devices, key_data, key_type
from grujax.sweep.populations.programs import (
    Functions,
    RoundProgram,
    padded_members,
    round_program,
    start_program,
)
from grujax.sweep.populations.state import (
    PARENT,
    Population,
    check_names,
    make_result,
    read_newest,
    states_from_host,
    write_population,
)
from grujax.sweep.progress import progress_bar, report_interruption
from grujax.sweep.result import PopulationResult, check_mode
from grujax.sweep.storage import claim, describe_function, describe_sweep
from grujax.sweep.trials import Trials, check_trials, count_trials

SAVE_SECONDS = 10.0  # between two files: a kill loses no more than that and one round


class Rung(NamedTuple):
    """Rounds with the same members; the worst members leave before the first round."""

    members: int
    rounds: int


class Search(NamedTuple):
    """The checked arguments of `population` or `successive_halving`."""

    functions: Functions
    trials: Trials
    key: Array
    metric: str
    mode: str
    strategy: str
    devices: tuple[jax.Device, ...]
    directory: Path | None
    progress: bool
    rungs: tuple[Rung, ...] = ()

    @property
    def curves(self) -> tuple[str, ...]:
        """The parts of the history that the result has besides the metrics."""
        return () if self.functions.exploit is None else (*self.trials, PARENT)


def prepare(
    functions: Functions,
    trials: Any,
    key: Array,
    metric: str,
    mode: str,
    strategy: str | None,
    devices: Sequence[jax.Device] | None,
    directory: str | Path | None,
    progress: bool,
) -> Search:
    """Checks everything that needs no tracing. Returns: a search without rungs."""
    for name in ("init", "step", "evaluate"):
        function = getattr(functions, name)
        if not callable(function):
            raise ValueError(f"`{name}` must be a function, got {type(function).__name__}.")
    for name, values in trials.items() if isinstance(trials, dict) else ():
        if np.asarray(values).dtype.kind == "U":
            raise ValueError(f"`{name}` holds strings, which cannot be traced.")
    check_mode(mode)
    key_type(key)  # raises unless it is a key
    places, strategy = choose_devices(devices, strategy)
    folder = None if directory is None else Path(directory)
    arrays = check_trials(trials, ())
    return Search(functions, arrays, key, metric, mode, strategy, places, folder, progress)


def run_search(search: Search, settings: dict[str, Any]) -> PopulationResult:
    """Runs all rungs, or the part that is missing in `search.directory`.

    Args:
        search: the search.
        settings: whatever else identifies it, as JSON values.
    """
    folder, total = search.directory, sum(rung.rounds for rung in search.rungs)
    population = _initial_population(search)
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
            for current in _rounds(search, population):
                population = current
                if bar is not None:
                    bar.update(1)
                is_due = time.perf_counter() - saved_at >= SAVE_SECONDS
                if folder is not None and (is_due or population.rounds == total):
                    write_population(folder, population.to_host())
                    saved, saved_at = population.rounds, time.perf_counter()
        except KeyboardInterrupt:
            if folder is not None and saved < population.rounds:
                write_population(folder, population.to_host())
            report_interruption(population.rounds, total, "round", folder)
            raise
    init, curves = search.functions.init, search.curves
    return make_result(population.to_host(), init, search.trials, search.key, curves)


def _initial_population(search: Search) -> Population:
    members = np.arange(count_trials(search.trials), dtype=np.int32)
    values = {
        name: array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
        for name, array in search.trials.items()
    }
    return Population(0, members, [], values, {})


def _rounds(search: Search, population: Population) -> Iterator[Population]:
    """The population after each missing round, with its states on the devices."""
    end = 0
    for rung in search.rungs:
        end += rung.rounds
        if population.rounds >= end:
            continue
        scores = population.scores(search.metric, search.mode)
        population = population.to_host().keep_best(scores, rung.members)
        traced = tuple((name, array.dtype.name) for name, array in population.values.items())
        plan = Plan(rung.members, traced, key_type(search.key), search.strategy, search.devices)
        program = round_program(search.functions, plan)
        check_names(population, search.metric, program.shapes.metrics, search.curves)
        population = population._replace(states=_start(search, plan, program, population))
        while population.rounds < end:
            population = _run_round(search, program, population)
            yield population


def _start(search: Search, plan: Plan, program: RoundProgram, population: Population) -> State:
    """The states on the devices: initial ones, or those of the population on the host."""
    if population.rounds == 0:
        start = start_program(search.functions, plan)
        return start(key_data(search.key), population.members, population.values)
    states = states_from_host(population.states, program.shapes.state)
    padded = jax.tree.map(lambda leaf: leaf[padded_members(plan)], states)
    return jax.device_put(padded, program.sharding)


def _run_round(search: Search, program: RoundProgram, population: Population) -> Population:
    scores = population.scores(search.metric, search.mode)
    parents, states, values, metrics = program.run(
        key_data(search.key),
        np.int32(population.rounds),
        population.members,
        population.states,
        population.values,
        scores,
    )
    population = population._replace(states=states, values=_to_numpy(values))
    return population.add_round(_to_numpy(metrics), np.asarray(parents))


def _to_numpy(arrays: dict[str, Array]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in arrays.items()}
