"""A population between two programs: its states on the host, on disk, and back on the devices.

    sweep.json        what is searched, see `grujax.sweep.storage`
    round-000012.npz  the population after 12 rounds, and the history of all of them

A file is there whole or not at all, and the one before stays beside it, should it be damaged.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from grujax.sweep.population_contract import State, is_key
from grujax.sweep.storage import write_atomically
from grujax.sweep.trials import Trials

_KEPT = 2  # files


class Population(NamedTuple):
    """A population of m members, of n that there were at first."""

    rounds: int  # done
    members: np.ndarray  # [m] int32: their numbers
    states: Any  # on the host: a list of the leaves, each [m, ...]; on the devices: see to_host
    values: Trials  # [m] each: the hyperparameters they have now
    history: dict[str, np.ndarray]  # [n, rounds]: metrics, hyperparameters and parents


def take(population: Population, places: np.ndarray) -> Population:
    """Those members alone; the history stays whole."""
    return population._replace(
        members=population.members[places],
        states=[leaf[places] for leaf in population.states],
        values={name: array[places] for name, array in population.values.items()},
    )


def to_host(population: Population) -> Population:
    """The same with its states on the host, as a list of leaves.

    While a population runs, its states are a pytree [slots, ...] on the devices, with more slots
    than members where the devices do not divide them. A random key becomes the numbers that it is
    made of.
    """
    leaves = [
        np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)[: len(population.members)]
        for leaf in jax.tree.leaves(population.states)
    ]
    return population._replace(states=leaves)


def fill_places(members: int, devices: int) -> np.ndarray:
    """Of which members the states fill the slots; what is too much repeats the first."""
    places = np.arange(-(-members // devices) * devices)
    return np.where(places < members, places, 0)


def from_host(leaves: list[np.ndarray], shapes: State) -> State:
    """The inverse of `to_host`: a pytree [m, ...], given the shapes and dtypes of one state.

    Raises:
        ValueError: they are of other shapes or dtypes.
    """
    wanted = jax.tree.leaves(shapes)
    if len(wanted) != len(leaves):
        raise ValueError(
            f"`directory` holds states of {len(leaves)} arrays, and `init` makes {len(wanted)} now."
        )
    made = [_as_wanted(leaf, struct) for leaf, struct in zip(leaves, wanted, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(shapes), made)


def write_population(directory: Path, population: Population) -> None:
    """Adds a file. When this returns, it survives the process and the machine."""
    arrays: dict[str, Any] = {"rounds": np.array(population.rounds), "members": population.members}
    arrays |= {f"state/{index}": leaf for index, leaf in enumerate(population.states)}
    arrays |= {f"value/{name}": array for name, array in population.values.items()}
    arrays |= {f"history/{name}": array for name, array in population.history.items()}
    content = BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_atomically(directory / f"round-{population.rounds:06d}.npz", content.getvalue())
    for path in sorted(directory.glob("round-*.npz"))[:-_KEPT]:
        path.unlink()


def read_newest(directory: Path) -> Population | None:
    """The newest population that is there. A damaged file is reported and left out."""
    for path in sorted(directory.glob("round-*.npz"), reverse=True):
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            states = _part(arrays, "state/")
            return Population(
                int(arrays["rounds"]),
                arrays["members"],
                [states[str(index)] for index in range(len(states))],
                _part(arrays, "value/"),
                _part(arrays, "history/"),
            )
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
            warnings.warn(
                f"{path} is damaged ({error}); the search goes on from the one before.",
                stacklevel=3,
            )
    return None


def describe_function(function: Callable) -> str:
    """A name that is the same in the next process; of a `partial` with its arguments."""
    if not isinstance(function, partial):
        return getattr(function, "__qualname__", type(function).__name__)
    arguments = [_describe(value) for value in function.args]
    arguments += [f"{name}={_describe(value)}" for name, value in function.keywords.items()]
    return f"{describe_function(function.func)}({', '.join(arguments)})"


def _describe(value: Any) -> str:
    if callable(value):
        return describe_function(value)
    plain = isinstance(value, (bool, int, float, str, tuple))
    return repr(value) if plain else type(value).__name__


def _as_wanted(leaf: np.ndarray, struct: Any) -> Any:
    array: Any = leaf
    if is_key(struct):
        implementation = jax.random.key_impl(jnp.empty((), struct.dtype))
        array = jax.random.wrap_key_data(jnp.asarray(leaf), impl=implementation)
    elif leaf.dtype.kind == "V":  # NumPy's files forget what bfloat16 is
        array = leaf.view(struct.dtype)
    if array.shape[1:] != struct.shape or array.dtype != struct.dtype:
        raise ValueError(
            f"`directory` holds states with an array {array.dtype} {list(array.shape[1:])}, where "
            f"`init` makes {struct.dtype} {list(struct.shape)} now."
        )
    return array


def _part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
