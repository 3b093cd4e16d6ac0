"""How the primitives are batched by `vmap`: as more rows of the batch, or as more models."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import batching

from grujax.implementations.primitive.primitives import backward_p, forward_p
from grujax.jax_support.batching import run_own_models


def row_axes(structure: Any) -> list[int | None]:
    """The batch axis of each leaf of a `RecurrenceArgs`, without an axis of models; None: none."""
    leaves = range(structure.num_leaves)
    axes: dict[int, int] = {}
    jax.tree.unflatten(structure, leaves).map_batch(axes.setdefault)
    return [axes.get(leaf) for leaf in leaves]


def _batch(primitive: Primitive, leaves: Any, axes: Any, **static: Any) -> Any:
    return run_own_models(partial(_batch_here, primitive, axes=axes, **static), leaves, axes)


def _batch_here(primitive: Primitive, *leaves: Any, axes: Any, **static: Any) -> Any:
    size = next(
        leaf.shape[axis] for leaf, axis in zip(leaves, axes, strict=True) if axis is not None
    )
    if primitive is forward_p:
        (structure,) = static["structure"].children()
        rows = row_axes(structure)
        if all(a is None or row is not None for a, row in zip(axes, rows, strict=True)):
            return _batch_rows(size, leaves, axes, rows, **static)
    return _batch_models(primitive, size, leaves, axes, **static)


def _batch_rows(size: int, leaves: Any, axes: Any, rows: Any, **static: Any) -> Any:
    """For parameters without the mapped axis: the same models, with more rows."""
    number = _number_of_rows(leaves, axes, rows, static["is_batched"])

    def merge(leaf: Array, axis: int | None, row_axis: int | None, has_models: bool) -> Array:
        if row_axis is None:
            return leaf
        if axis is None:
            leaf = jnp.broadcast_to(leaf, (size, *leaf.shape))
        row_axis += has_models
        leaf = jnp.moveaxis(leaf, axis or 0, row_axis)
        shape = leaf.shape
        return leaf.reshape(*shape[:row_axis], size * number, *shape[row_axis + 2 :])

    def split(result: Array, axis: int) -> Array:
        return result.reshape(*result.shape[:axis], size, number, result.shape[-1])

    merged = [merge(*leaf) for leaf in zip(leaves, axes, rows, static["is_batched"], strict=True)]
    h_last, *in_time = forward_p.bind(*merged, **static)
    results = [split(h_last, 1), *(split(array, 2) for array in in_time)]
    return results, [1, *[2] * len(in_time)]


def _number_of_rows(leaves: Any, axes: Any, rows: Any, is_batched: Any) -> int:
    """The rows of the batch, without the mapped axis."""
    for leaf, axis, row_axis, has_models in zip(leaves, axes, rows, is_batched, strict=True):
        if row_axis is not None:
            position = row_axis + has_models
            return leaf.shape[position + (axis is not None and axis <= position)]
    raise AssertionError("some leaf, such as the inputs, has an axis of rows")


def _batch_models(primitive: Primitive, size: int, leaves: Any, axes: Any, **static: Any) -> Any:
    """Each model of the batch `size` times, with its own arrays of the mapped axis."""
    batch, is_batched = static["batch"], static["is_batched"]

    def merge(leaf: Array, axis: int | None, has_models: bool) -> Array:
        if axis is None and not has_models:
            return leaf
        leaf = jnp.broadcast_to(leaf, (size, *leaf.shape)) if axis is None else _first(leaf, axis)
        if not has_models:
            if batch.number == 1:
                return leaf
            leaf = jnp.broadcast_to(leaf[:, None], (size, batch.number, *leaf.shape[1:]))
        return leaf.reshape(size * batch.number, *leaf.shape[2:])

    merged = [merge(*leaf) for leaf in zip(leaves, axes, is_batched, strict=True)]
    static["is_batched"] = tuple(
        axis is not None or has_models for axis, has_models in zip(axes, is_batched, strict=True)
    )
    static["batch"] = batch._replace(number=size * batch.number)
    results = primitive.bind(*merged, **static)
    results = [result.reshape(size, batch.number, *result.shape[1:]) for result in results]
    return results, [0] * len(results)


def _first(leaf: Array, axis: int) -> Array:
    """`leaf` with this axis first."""
    return jnp.moveaxis(leaf, axis, 0)


for _primitive in (forward_p, backward_p):
    batching.primitive_batchers[_primitive] = partial(_batch, _primitive)
