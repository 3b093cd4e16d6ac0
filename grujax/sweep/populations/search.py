"""Rounds of a population, one after the other: what `population` and `successive_halving` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from grujax.checks import check_bool, check_choice, check_path, check_string
from grujax.sweep.contract import State, check_takes
from grujax.sweep.fingerprints import Origin, check_origins, versions, warn_of_unknown
from grujax.sweep.plan import Plan, choose_devices, key_data, key_type
from grujax.sweep.populations.programs import (
    Functions,
    RoundProgram,
    fingerprint_functions,
    padded_members,
    round_program,
    start_program,
)
from grujax.sweep.populations.result import PopulationResult
from grujax.sweep.populations.state import (
    PARENT,
    Population,
    check_names,
    fit_history,
    make_result,
    open_search,
    states_from_host,
    write_population,
)
from grujax.sweep.progress import progress_bar, report_interruption
from grujax.sweep.result import check_mode
from grujax.sweep.storage import Saver, check_writable, describe_sweep, identify, locked
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
    resume: str
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
    devices: Sequence[jax.Device] | int | None,
    directory: str | Path | None,
    resume: str,
    progress: bool,
) -> Search:
    """Checks everything that needs no tracing. Returns: a search without rungs."""
    arrays = check_trials(trials)
    check_takes("init", functions.init, ("key",), arrays)
    check_takes("step", functions.step, ("key", "state"), arrays)
    check_takes("evaluate", functions.evaluate, ("key", "state"), arrays)
    key_type(key)  # raises unless it is a key
    check_string("metric", metric)
    check_mode(mode)
    places, strategy = choose_devices(devices, strategy)
    folder = None if directory is None else check_path("directory", directory)
    check_choice("resume", resume, ("checked", "anyway"))
    progress = check_bool("progress", progress)
    return Search(functions, arrays, key, metric, mode, strategy, places, folder, resume, progress)


def run_search(search: Search, settings: dict[str, Any]) -> PopulationResult:
    """Runs all rungs, or the part that is missing in `search.directory`.

    Args:
        search: the search.
        settings: whatever else identifies it, as JSON values.
    """
    population, total = _initial_population(search), sum(rung.rounds for rung in search.rungs)
    about = {"metric": search.metric, "mode": search.mode} | settings
    about = describe_sweep(about, search.trials, search.key)
    find_origin = cache(partial(_find_origin, search, identify(about)))
    with locked(search.directory):
        if search.directory is not None:
            population = open_search(search.directory, about) or population
            if population.rounds > 0 and search.resume == "checked":
                warn_of_unknown(search.directory, [population.origin])
                check_origins(search.directory, [population.origin], find_origin)
            if population.rounds > total:
                raise ValueError(
                    f"`directory` {search.directory} holds {population.rounds} rounds already, "
                    f"more than {total}."
                )
            if population.rounds < total:
                missing = f"{total - population.rounds} of {total} rounds"
                check_writable(search.directory, missing)
        population = _run_rounds(search, population, total, find_origin)
    init, curves = search.functions.init, search.curves
    return make_result(population.to_host(), init, search.trials, search.key, curves)


def _run_rounds(
    search: Search, population: Population, total: int, find_origin: Callable[[], Origin]
) -> Population:
    """The population after all rounds, which is saved now and then; shows the progress."""
    folder = search.directory
    saver: Saver[Population] = Saver(None if folder is None else partial(write_population, folder))
    saved, saved_at = population.rounds, time.perf_counter()

    def save() -> int:
        """Returns: how many rounds are saved."""
        saver.waiting.clear()  # an older population is not needed any more
        if folder is not None:
            saver.save(population.to_host()._replace(origin=find_origin()))
        return saved if saver.waiting else population.rounds

    with progress_bar(search.progress, total, population.rounds, "round") as update:
        try:
            for current in _rounds(search, population):
                population = current
                update(1)
                is_due = time.perf_counter() - saved_at >= SAVE_SECONDS
                if is_due or population.rounds == total:
                    saved, saved_at = save(), time.perf_counter()
        except KeyboardInterrupt:
            if saved < population.rounds:
                saved = save()
            report_interruption(population.rounds, total, "round", folder, saved)
            raise
    saver.warn_of(f"{folder} has {saved} of {total} rounds")
    return population


def _find_origin(search: Search, sweep: str) -> Origin:
    """What computes the rounds."""
    values = _initial_population(search).values
    traced = tuple((name, array.dtype.name) for name, array in values.items())
    members = count_trials(search.trials)
    plan = Plan(members, traced, key_type(search.key), search.strategy, search.devices)
    return Origin(sweep, fingerprint_functions(search.functions, plan), versions())


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
        population = fit_history(population, program.shapes.metrics)
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
