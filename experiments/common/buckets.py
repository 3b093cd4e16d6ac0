"""Sentences of like length together, so that little of a batch is padding.

A bundle is a batch made beforehand: sentences of about one length, cut to the narrowest of a few
widths that holds them. Each width is a program of its own inside one `lax.switch`: nothing is
compiled anew for another length. Training takes the bundles in random order, one a step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common.text import pad

PyTree = Any
Bundles = dict[str, np.ndarray]  # "source", "target" [N, W, B], "bucket" [N]: which width
# (parameters, source [S, B], target [T, B], key or None) -> a pytree of scalars
Measure = Callable[[PyTree, Array, Array, Array | None], Any]


def make_bundles(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    widths: Sequence[int],
    size: int,
    seed: int,
) -> Bundles:
    """Sorts pairs of sentences by length and cuts them into N bundles, time-major.

    Args:
      sources: ids of each source sentence.
      targets: ids of each target sentence.
      widths: increasing; pairs with more ids than the last are left out.
      size: B, the number of pairs in a bundle. The last bundle is filled with empty pairs.
      seed: of the order among pairs of one length.
    """
    lengths = np.array([max(len(s), len(t)) for s, t in zip(sources, targets, strict=True)], int)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(lengths <= widths[-1]))
    order = order[np.argsort(lengths[order], kind="stable")]
    num_bundles = -(-len(order) // size)

    def bundled(rows: Sequence[Sequence[int]]) -> np.ndarray:
        filled = np.zeros((num_bundles * size, widths[-1]), np.int32)
        filled[: len(order)] = pad([rows[i] for i in order], widths[-1])
        return filled.reshape(num_bundles, size, -1).transpose(0, 2, 1)

    longest = [lengths[order[i * size : (i + 1) * size]].max() for i in range(num_bundles)]
    bucket = np.searchsorted(widths, longest).astype(np.int32)
    return {"source": bundled(sources), "target": bundled(targets), "bucket": bucket}


def bucketed_loss(measure: Measure, widths: Sequence[int]) -> Callable[[PyTree, Any, Array], Array]:
    """Turns the loss of one width into that of a batch of one bundle, as `make_training` takes it.

    The gradient is taken inside the switch: outside, every width would hand out its residuals.
    """
    branches = [jax.value_and_grad(_cut(measure, width)) for width in widths]

    def value_and_gradient(params: PyTree, batch: Any, key: Array):
        bundle = jax.tree.map(lambda array: array[0], batch)
        return jax.lax.switch(bundle["bucket"], branches, params, bundle, key)

    @jax.custom_vjp
    def loss(params: PyTree, batch: Any, key: Array) -> Array:
        return value_and_gradient(params, batch, key)[0]

    def backward(gradient: PyTree, cotangent: Array):
        return jax.tree.map(lambda leaf: cotangent * leaf, gradient), None, None

    loss.defvjp(value_and_gradient, backward)
    return loss


def sum_over_bundles(
    measure: Measure, widths: Sequence[int], params: PyTree, bundles: Bundles
) -> Any:
    """Adds up over all bundles what `measure` returns; it is given no key."""
    branches = [_cut(measure, width) for width in widths]

    def one(bundle):
        return jax.lax.switch(bundle["bucket"], branches, params, bundle, None)

    results = jax.lax.map(one, jax.tree.map(jnp.asarray, bundles))
    return jax.tree.map(lambda array: array.sum(0), results)


def _cut(measure: Measure, width: int) -> Callable[..., Any]:
    def cut(params: PyTree, bundle: Any, key: Array | None) -> Any:
        return measure(params, bundle["source"][:width], bundle["target"][:width], key)

    return cut
