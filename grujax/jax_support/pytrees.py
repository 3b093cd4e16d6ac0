"""The package's classes of arrays as pytrees: comparison by value, and serialization."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import jax
import numpy as np
from jax import export

from grujax.checks import is_traced

Kind = TypeVar("Kind", bound=type)


def register(kind: Kind) -> Kind:
    """Registers a dataclass as a pytree, and it or a named tuple for `jax.export`.

    Exported functions that take or return one can be serialized. A class decorator.
    """
    name = f"grujax.{kind.__name__}"
    if issubclass(kind, tuple):
        export.register_namedtuple_serialization(kind, serialized_name=name)
        return kind
    jax.tree_util.register_dataclass(kind)
    export.register_pytree_node_serialization(
        kind,
        serialized_name=name,
        serialize_auxdata=lambda static: json.dumps(static).encode(),
        deserialize_auxdata=lambda stored: _as_tuples(json.loads(stored)),
    )
    return kind


def _as_tuples(value: Any) -> Any:
    """The lists of JSON as the tuples that they were."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def flatten_distinct(tree: Any) -> tuple[list[Any], list[int], Any]:
    """The distinct leaves of a pytree, the position of each leaf among them, and the tree.

    An array that occurs twice is one leaf, told by its identity.
    """
    leaves, structure = jax.tree.flatten(tree)
    distinct = {id(leaf): leaf for leaf in leaves}
    order = {key: position for position, key in enumerate(distinct)}
    return list(distinct.values()), [order[id(leaf)] for leaf in leaves], structure


class ArrayTree:
    """A dataclass of arrays that `==` compares by value; declare it with `eq=False`.

    Equal are two of one class with equal static fields, shapes, dtypes and values. As in NumPy, NaN
    equals nothing. There is no hash: arrays have none.
    """

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        structure: Any
        leaves, structure = jax.tree.flatten(self)
        other_leaves, other_structure = jax.tree.flatten(other)
        if structure != other_structure:
            return False
        pairs = list(zip(leaves, other_leaves, strict=True))
        if not all(_type_of(one) == _type_of(another) for one, another in pairs):
            return False
        if any(map(is_traced, leaves + other_leaves)):
            raise ValueError(
                f"`==` of two {type(self).__name__} returns a bool, but inside `jit`, `grad` or "
                "`vmap` their values are not known. Compare their arrays, or compare outside."
            )
        return all(_equal(one, another) for one, another in pairs)


def _type_of(leaf: Any) -> Any:
    return getattr(leaf, "shape", None), getattr(leaf, "dtype", None)


def _equal(one: Any, other: Any) -> bool:
    is_array = isinstance(one, jax.Array | np.ndarray) and isinstance(other, jax.Array | np.ndarray)
    if is_array and jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key):
        one, other = jax.random.key_data(one), jax.random.key_data(other)
    return np.array_equal(one, other) if is_array else bool(one == other)
