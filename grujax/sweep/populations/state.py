"""A population between two rounds: its states, its history, its file, and its result.

The history has an array `[n, rounds]` for each metric, each hyperparameter and the parents. After a
member has stopped, its floating numbers are NaN and its parent is −1.

While a population runs, its states are a pytree [slots, ...] on the devices, with more slots than
members if the devices do not divide them. On the host they are a list of arrays [m, ...], one per
leaf, in which a random key is the numbers that it consists of. The directory of a population has

    sweep.json        what is searched, see `grujax.sweep.storage`
    round-000012.npz  the population after 12 rounds, and the history of all of them

and the previous file is kept too, in case the newest is damaged. Files are ordered by number.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.sweep.contract import Metrics, State, as_state
from grujax.sweep.fingerprints import Origin
from grujax.sweep.plan import is_typed_key
from grujax.sweep.populations.result import PopulationResult
from grujax.sweep.result import assemble
from grujax.sweep.storage import (
    Chunk,
    Damage,
    DamagedFileError,
    add_prefix,
    claim,
    numbered_files,
    read_arrays,
    read_origin,
    set_aside,
    with_prefix,
    write_arrays,
    write_origin,
)
from grujax.sweep.trials import Trials

PARENT = "parent"
_FILES = 2  # that are kept


class Population(NamedTuple):
    """A population of m members, out of n at the start."""

    rounds: int  # done
    members: np.ndarray  # [m] int32: their numbers
    states: Any  # see above
    values: Trials  # [m] each: their current hyperparameters
    history: dict[str, np.ndarray]  # [n, rounds] each
    origin: Origin | None = None  # None if it was written by a version that did not note it

    def to_host(self) -> Population:
        """The same with its states on the host."""
        members = len(self.members)
        leaves = [
            np.asarray(jax.random.key_data(leaf) if is_typed_key(leaf) else leaf)[:members]
            for leaf in jax.tree.leaves(self.states)
        ]
        return self._replace(states=leaves)

    def keep_best(self, scores: np.ndarray, count: int) -> Population:
        """The members with the greatest scores `[m]`, in order; states are on the host."""
        best = np.sort(np.argsort(-scores, kind="stable")[:count])
        return self._replace(
            members=self.members[best],
            states=[leaf[best] for leaf in self.states],
            values={name: array[best] for name, array in self.values.items()},
        )

    def scores(self, metric: str, mode: str) -> np.ndarray:
        """`[m]`, from the last metric: greater is better, −∞ is NaN; 0 before the first round."""
        dtype = jax.dtypes.canonicalize_dtype(np.float64)
        if self.rounds == 0:
            return np.zeros(len(self.members), dtype)
        values = self.history[metric][self.members, -1].astype(np.float64)
        signed = values if mode == "max" else -values
        scores = np.maximum(signed.astype(dtype), np.finfo(dtype).min)  # NaN stays
        return np.where(np.isnan(scores), dtype.type(-np.inf), scores)

    def add_round(self, metrics: dict[str, np.ndarray], parents: np.ndarray) -> Population:
        """Counts a round, and adds a column to the history, with the current hyperparameters.

        Args:
            metrics: of the m members, or padded to all slots.
            parents: which member each has taken over from, `[m]`, as positions among the m.
        """
        members, history = self.members, {}
        columns = metrics | self.values | {PARENT: members[parents]}
        for name, new in columns.items():
            before = self.history.get(name)
            if before is None:  # the first round, in which all members run
                before = np.zeros((len(members), 0), new.dtype)
            column = np.full((len(before), 1), _filler(new.dtype), new.dtype)
            column[members, 0] = new[: len(members)]
            history[name] = np.concatenate([before, column], axis=1)
        return self._replace(rounds=self.rounds + 1, history=history)


def states_from_host(leaves: list[np.ndarray], shapes: State) -> State:
    """The inverse of `Population.to_host`: a pytree [m, ...].

    Args:
        leaves: the arrays.
        shapes: shapes and dtypes of one state.

    Raises:
        ValueError: the leaves have other shapes or dtypes.
    """
    structs = jax.tree.leaves(shapes)
    if len(structs) != len(leaves):
        raise ValueError(
            f"`directory` holds states of {len(leaves)} arrays, and `init` makes {len(structs)} "
            "now."
        )
    arrays = [_restore(leaf, struct) for leaf, struct in zip(leaves, structs, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(shapes), arrays)


def write_population(directory: Path, population: Population) -> None:
    """Adds the file of a population whose states are on the host, and removes outdated ones.

    Raises:
        OSError: the disk refuses it.
    """
    arrays = {"rounds": np.array(population.rounds), "members": population.members}
    arrays |= {f"state/{index}": leaf for index, leaf in enumerate(population.states)}
    arrays |= add_prefix("value", population.values) | add_prefix("history", population.history)
    arrays |= write_origin(population.origin)
    write_arrays(directory / f"round-{population.rounds:06d}.npz", arrays)
    for path in numbered_files(directory, "round")[:-_FILES]:
        with suppress(OSError):  # they only take space
            path.unlink()


def open_search(directory: Path, about: dict[str, Any]) -> Population | None:
    """Claims a directory, and reads its newest population. Damaged files are moved aside.

    Raises:
        ValueError: as `grujax.sweep.storage.claim`.
    """
    population, damages = read_newest(directory)
    claim(directory, about, [] if population is None else [population.origin])
    set_aside(damages, "the search resumes from the one before")
    return population


def read_newest(directory: Path) -> tuple[Population | None, list[Damage]]:
    """The newest population that is not damaged, if any, and the damaged files after it."""
    damages: list[Damage] = []
    for path in reversed(numbered_files(directory, "round")):
        try:
            return _parse(path, read_arrays(path)), damages
        except DamagedFileError as error:
            damages.append(Damage(path, str(error)))
    return None, damages


def fit_history(population: Population, metrics: Metrics) -> Population:
    """The population with a history of the dtypes that `evaluate` returns now.

    Earlier versions, which noted no origin, stored all metrics as floating numbers.

    Raises:
        ValueError: `evaluate` returned other dtypes.
    """
    history = dict(population.history)
    for name, metric in metrics.items() if history else ():
        array, dtype = history[name], np.dtype(metric.dtype)
        if array.dtype != dtype and population.origin is not None:
            raise ValueError(
                f"`directory` holds `{name}` as {array.dtype}, and `evaluate` returns {dtype} now."
            )
        is_floating = jnp.issubdtype(dtype, np.inexact)
        filled = array if is_floating else np.where(np.isnan(array), _filler(dtype), array)
        history[name] = filled.astype(dtype)
    return population._replace(history=history)


def check_names(
    population: Population, metric: str, metrics: Metrics, curves: tuple[str, ...]
) -> None:
    """Raises ValueError unless the metrics are as expected, and the result's names are unique."""
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


def make_result(
    population: Population, init: Callable, trials: Trials, key: Array, curves: tuple[str, ...]
) -> PopulationResult:
    """The result of a population whose states are on the host.

    Args:
        population: after its last round.
        init: makes the state of a member; only traced.
        trials: the initial hyperparameters.
        key: the random key of the search.
        curves: the parts of the history that the result has besides the metrics.
    """
    history, values = population.history, population.values
    rounds = (history[PARENT] >= 0).sum(1)  # of each trial
    everyone = np.arange(len(rounds))
    names = [name for name in history if name not in (*values, PARENT)]
    last = Chunk(everyone, {name: history[name][everyone, rounds - 1] for name in names})
    result = assemble(trials, [last], everyone)
    metrics = result.metrics if curves else result.metrics | {"rounds": rounds}
    columns = {name: history[name] for name in (*names, *curves)}
    if (rounds < rounds.max()).any():  # only NaN shows where a member has stopped
        columns = {name: _with_nan(columns[name], history[PARENT] >= 0) for name in columns}
    metrics |= {f"{name}_by_round": array for name, array in columns.items()}
    structs = {name: jax.ShapeDtypeStruct((), array.dtype) for name, array in values.items()}
    shapes = jax.eval_shape(lambda key, values: as_state(init(key, **values), "init"), key, structs)
    states = states_from_host(population.states, shapes)
    by_member: dict[int, Any] = {
        int(member): jax.tree.map(lambda leaf, position=position: leaf[position], states)
        for position, member in enumerate(population.members)
    }
    return PopulationResult(result.trials, metrics, result.diverged, by_member)


def _filler(dtype: np.dtype) -> float:
    """What the history has of a member that has stopped."""
    if jnp.issubdtype(dtype, np.inexact):
        return np.nan
    return -1 if dtype.kind == "i" else 0


def _with_nan(array: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """A part of the history, as floating numbers that are NaN unless the member runs."""
    if jnp.issubdtype(array.dtype, np.inexact):
        return array
    return np.where(runs, array.astype(np.float64), np.nan)


def _parse(path: Path, arrays: dict[str, np.ndarray]) -> Population:
    if not {"rounds", "members"} <= arrays.keys():
        raise ValueError(f"{path} is no population: it holds {', '.join(arrays)}.")
    states = with_prefix("state", arrays)
    return Population(
        int(arrays["rounds"]),
        arrays["members"],
        [states[str(index)] for index in range(len(states))],
        with_prefix("value", arrays),
        with_prefix("history", arrays),
        read_origin(path, arrays),
    )


def _restore(leaf: np.ndarray, struct: Any) -> Any:
    array: Any = leaf
    if is_typed_key(struct):
        implementation = jax.random.key_impl(jnp.empty((), struct.dtype))
        array = jax.random.wrap_key_data(jnp.asarray(leaf), impl=implementation)
    elif leaf.dtype.type is np.void:  # from a version that did not store the name bfloat16
        array = leaf.view(struct.dtype)
    if array.shape[1:] != struct.shape or array.dtype != struct.dtype:
        raise ValueError(
            f"`directory` holds states with an array {array.dtype} {list(array.shape[1:])}, where "
            f"`init` makes {struct.dtype} {list(struct.shape)} now."
        )
    return array
