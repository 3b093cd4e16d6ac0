"""The gradient of a batch's loss: over several devices, piece by piece, in half precision.

What must not happen with a batch in pieces is a mean of means: pieces have unequal numbers of
tokens. So a loss whose rows weigh differently gives each of its means as a sum and a weight.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.training.scale import Scale, map_rows, spread

PyTree = Any


class Mean(NamedTuple):
    """A mean told in two parts, so that those of pieces of a batch can be added up.

    The mean is `total / weight`, 0 where nothing has weight; of several, [...], their own mean.
    """

    total: Array  # [...] a weighted sum over rows, or tokens
    weight: Array  # [...] the sum of the weights, which do not depend on the parameters

    def value(self) -> Array:
        """[]: the mean."""
        return jnp.mean(self.total / jnp.where(self.weight == 0, 1, self.weight))


# (parameters, batch, key) -> [] the mean over a batch all of whose rows weigh the same; or a
# `Mean`; or a tuple of such, which are added.
Loss = Callable[[PyTree, PyTree, Array], Array | Mean | tuple[Array | Mean, ...]]


def value_and_gradient(
    loss: Callable[..., Any], scale: Scale, row_axes: PyTree = 0, has_aux: bool = False
) -> Callable[[PyTree, PyTree, Array], tuple[Any, PyTree]]:
    """Returns the function of parameters, batch and key that gives loss, [], and gradient.

    With `scale.accumulate` the batch is cut into pieces, read one after the other, each with a key
    of its own. Their means are added up as those of the whole batch.

    Args:
      loss: see `Loss`; the key draws dropout.
      scale: devices, pieces and dtype.
      row_axes: where a batch has its rows, see `experiments.common.training.scale.spread`.
      has_aux: `loss` returns besides a pytree of arrays [B, ...], of which a row depends on that
        row of the batch; so does the function, in place of the loss: (loss, arrays).
    """

    def means(params: PyTree, batch: PyTree, key: Array) -> tuple[tuple[Mean, ...], PyTree]:
        batch = spread(batch, row_axes)
        if scale.dtype != "float32":
            params, batch = in_dtype((params, batch), scale.dtype)
        value, aux = loss(params, batch, key) if has_aux else (loss(params, batch, key), ())
        return _as_means(value), aux

    def whole(params: PyTree, batch: PyTree, key: Array) -> tuple[Array, PyTree]:
        parts, aux = means(params, batch, key)
        return sum((mean.value() for mean in parts), start=jnp.zeros(())), aux

    def in_pieces(params: PyTree, batch: PyTree, key: Array) -> tuple[tuple[Array, PyTree], PyTree]:
        pieces = _cut(batch, row_axes, scale.accumulate), jax.random.split(key, scale.accumulate)
        weights = jax.lax.map(lambda x: [mean.weight for mean in means(params, *x)[0]], pieces)

        def share(params: PyTree, batch: PyTree, key: Array) -> tuple[Array, PyTree]:
            parts, aux = means(params, batch, key)
            pairs = zip(parts, weights, strict=True)
            shares = [mean._replace(weight=weight.sum(0)).value() for mean, weight in pairs]
            return sum(shares, start=jnp.zeros(())), aux

        def add(sums: PyTree, piece: PyTree) -> tuple[PyTree, PyTree]:
            (value, aux), gradient = jax.value_and_grad(share, has_aux=True)(params, *piece)
            return jax.tree.map(jnp.add, sums, (value, gradient)), aux

        zeros = jax.tree.map(jnp.zeros_like, (jnp.zeros(()), params))
        (value, gradient), aux = jax.lax.scan(add, zeros, pieces)
        return (value, jax.tree.map(_joined, aux)), gradient

    both = jax.value_and_grad(whole, has_aux=True) if scale.accumulate == 1 else in_pieces

    def without_aux(params: PyTree, batch: PyTree, key: Array) -> tuple[Array, PyTree]:
        (value, _), gradient = both(params, batch, key)
        return value, gradient

    return both if has_aux else without_aux


def in_dtype(tree: PyTree, dtype: str) -> PyTree:
    """Casts the float32 arrays of a pytree."""
    return jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, tree)


def _as_means(value: Any) -> tuple[Mean, ...]:
    """A loss as means, in float32 at least."""

    def as_mean(value: Array | Mean) -> Mean:
        mean = value if isinstance(value, Mean) else Mean(value, jnp.ones(()))
        return Mean(*(part.astype(jnp.promote_types(part.dtype, jnp.float32)) for part in mean))

    several = isinstance(value, tuple) and not isinstance(value, Mean)
    return tuple(map(as_mean, value if several else (value,)))


def _joined(pieces: Array) -> Array:
    """The inverse of `_cut` for an array [K, B / K, ...]: [B, ...]."""
    count, rows = pieces.shape[:2]
    return jnp.moveaxis(pieces, 0, 1).reshape(count * rows, *pieces.shape[2:])


def _cut(batch: PyTree, row_axes: PyTree, pieces: int) -> PyTree:
    """Cuts a batch into K pieces along a new first axis.

    A piece has every Kth row, so that a device has as many rows of each.
    """

    def one(axis: int | None, array: Array) -> Array:
        if axis is None:
            return jnp.broadcast_to(array, (pieces, *array.shape))
        shape = array.shape
        each = shape[axis] // pieces
        array = array.reshape(*shape[:axis], each, pieces, *shape[axis + 1 :])
        return jnp.moveaxis(array, axis + 1, 0)

    return map_rows(one, row_axes, batch)
