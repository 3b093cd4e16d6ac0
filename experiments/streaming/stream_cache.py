"""The key-value cache of one stream, whose step writes in place and reads each number once.

`experiments.common.rivals.transformer.Cache` has rows, and XLA copies it in each step. This one has
an array for each block and head, in which the numbers that a product adds up lie side by side.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.rivals.transformer import (
    BLOCKS,
    HEADS,
    WINDOW,
    TransformerParams,
    apply_blocks,
    head_size,
)


class StreamCache(NamedTuple):
    """The keys and values of the last W steps, for each block and head."""

    keys: tuple[Array, ...]  # BLOCKS·HEADS arrays [D, W], rotated
    values: tuple[Array, ...]  # [D, W]
    count: Array  # int32 [], the steps so far

    @property
    def capacity(self) -> int:
        """W, the steps that there is room for."""
        return self.keys[0].shape[-1]


def empty_cache(hidden_size: int, capacity: int = WINDOW) -> StreamCache:
    """The float32 cache before the first step, with room for this many."""
    shape = (head_size(hidden_size), capacity)

    def zeros() -> tuple[Array, ...]:  # each array has memory of its own, as it can be donated
        return tuple(jnp.zeros(shape) for _ in range(BLOCKS * HEADS))

    return StreamCache(zeros(), zeros(), jnp.int32(0))


def capacity_at(position: int) -> int:
    """The capacity of a cache that has doubled until it holds `position` steps and one more."""
    capacity = WINDOW
    while capacity <= position:
        capacity *= 2
    return capacity


def grow(cache: StreamCache) -> StreamCache:
    """Doubles the capacity of a cache with at most W steps so far, none of which is forgotten."""

    def pad(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(jnp.pad(array, ((0, 0), (0, cache.capacity))) for array in arrays)

    return StreamCache(pad(cache.keys), pad(cache.values), cache.count)


def stream_step(params: TransformerParams, cache: StreamCache, x: Array) -> tuple[Any, Array]:
    """Reads one step x [I]; where the cache is full, in the place of the oldest one.

    Returns: the cache, and the output [H].
    """
    place, filled = cache.count % cache.capacity, jnp.arange(cache.capacity) <= cache.count
    keys, values = list(cache.keys), list(cache.values)

    def attend(number: int, queries: Array, new_keys: Array, new_values: Array) -> Array:
        read = []
        for head in range(HEADS):
            slot = number * HEADS + head
            for kept, new in ((keys, new_keys), (values, new_values)):
                column = new[0, 0, head][:, None]
                kept[slot] = jax.lax.dynamic_update_slice(kept[slot], column, (0, place))
            query = queries[0, 0, head] * queries.shape[-1] ** -0.5
            weights = jax.nn.softmax(jnp.where(filled, query @ keys[slot], -jnp.inf))
            read.append(values[slot] @ weights)
        return jnp.stack(read)[None, None]

    hs = apply_blocks(params, x[None, None], cache.count[None, None], attend)
    return StreamCache(tuple(keys), tuple(values), cache.count + 1), hs[0, 0]
