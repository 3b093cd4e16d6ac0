"""Applying a function to many examples, a batch at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.training.scale import round_up_rows, shard_rows

PyTree = Any


def map_batches(function: Callable[[PyTree], PyTree], inputs: PyTree, batch_size: int) -> PyTree:
    """Applies `function` to a pytree of arrays [N, ...], `batch_size` examples at a time.

    `function` must treat each example independently: the last batch is padded with zeros, whose
    results are dropped. Returns: the outputs of `function`, each array [N, ...].
    """
    num_examples = jax.tree.leaves(inputs)[0].shape[0]
    batch_size = round_up_rows(batch_size)
    num_batches = -(-num_examples // batch_size)

    def batched(array: Array) -> Array:
        padding = [(0, num_batches * batch_size - num_examples)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, padding).reshape(num_batches, batch_size, *array.shape[1:])

    batches = jax.tree.map(batched, inputs)
    outputs = jax.lax.map(lambda batch: function(shard_rows(batch)), batches)

    def unbatched(array: Array) -> Array:
        return array.reshape(num_batches * batch_size, *array.shape[2:])[:num_examples]

    return jax.tree.map(unbatched, outputs)
