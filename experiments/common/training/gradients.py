"""The gradient of a batch's loss: over several devices, piece by piece, in half precision.

With a batch in pieces a mean of means would be wrong, because pieces differ in their number of
tokens. A loss whose rows weigh differently therefore returns each mean as a sum and a weight.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.training.scale import Scale, map_rows, shard_rows

PyTree = Any


class Mean(NamedTuple):
    """A mean in two parts, which can be added over the pieces of a batch.

    The mean is `total / weight`, 0 where the weight is 0; of several, [...], their unweighted mean.
    """

    total: Array  # [...] a weighted sum over rows, or tokens
    weight: Array  # [...] the sum of the weights, which do not depend on the parameters

    def value(self) -> Array:
        """[]: the mean."""
        return jnp.mean(self.total / jnp.where(self.weight == 0, 1, self.weight))


# (parameters, batch, key) -> [], the mean over a batch whose rows all weigh the same; or a `Mean`;
# or a tuple of these, which are added.
Loss = Callable[[PyTree, PyTree, Array], Array | Mean | tuple[Array | Mean, ...]]


def value_and_gradient(
    loss: Callable[..., Any], scale: Scale, row_axes: PyTree = 0, has_aux: bool = False
) -> Callable[[PyTree, PyTree, Array], tuple[Any, PyTree]]:
    """Returns the function (parameters, batch, key) -> (loss [], gradient).

    With `scale.accumulate` the batch is processed in pieces, one after the other, each with its own
    key. The result is the mean over the whole batch.

    Args:
      loss: see `Loss`; the key draws dropout.
      scale: devices, pieces and dtype.
      row_axes: the row axes of a batch, see `experiments.common.training.scale.shard_rows`.
      has_aux: `loss` returns (loss, arrays), a pytree of arrays [B, ...] in which each row depends
        only on that row of the batch; the function then returns ((loss, arrays), gradient).
    """

    def means(params: PyTree, batch: PyTree, key: Array) -> tuple[tuple[Mean, ...], PyTree]:
        batch = shard_rows(batch, row_axes)
        if scale.dtype != "float32":
            params, batch = cast_float32((params, batch), scale.dtype)
        value, aux = loss(params, batch, key) if has_aux else (loss(params, batch, key), ())
        return _as_means(value), aux

    def whole(params: PyTree, batch: PyTree, key: Array) -> tuple[Array, PyTree]:
        parts, aux = means(params, batch, key)
        return sum((mean.value() for mean in parts), start=jnp.zeros(())), aux

    def in_pieces(params: PyTree, batch: PyTree, key: Array) -> tuple[tuple[Array, PyTree], PyTree]:
        pieces = (
            _split_batch(batch, row_axes, scale.accumulate),
            jax.random.split(key, scale.accumulate),
        )
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
        return (value, jax.tree.map(_join_pieces, aux)), gradient

    with_aux = jax.value_and_grad(whole, has_aux=True) if scale.accumulate == 1 else in_pieces

    def without_aux(params: PyTree, batch: PyTree, key: Array) -> tuple[Array, PyTree]:
        (value, _), gradient = with_aux(params, batch, key)
        return value, gradient

    return with_aux if has_aux else without_aux


def cast_float32(tree: PyTree, dtype: str) -> PyTree:
    """Casts the float32 arrays of a pytree, and leaves the others as they are."""
    return jax.tree.map(lambda x: x.astype(dtype) if x.dtype == jnp.float32 else x, tree)


def _as_means(value: Any) -> tuple[Mean, ...]:
    """Converts a loss to a tuple of `Mean`s in at least float32."""

    def as_mean(value: Array | Mean) -> Mean:
        mean = value if isinstance(value, Mean) else Mean(value, jnp.ones(()))
        return Mean(*(part.astype(jnp.promote_types(part.dtype, jnp.float32)) for part in mean))

    is_sum = isinstance(value, tuple) and not isinstance(value, Mean)
    return tuple(map(as_mean, value if is_sum else (value,)))


def _split_batch(batch: PyTree, row_axes: PyTree, pieces: int) -> PyTree:
    """Splits a batch into K pieces along a new first axis.

    A piece holds every Kth row, so that each device holds equally many rows of each piece.
    """

    def split(axis: int | None, array: Array) -> Array:
        if axis is None:
            return jnp.broadcast_to(array, (pieces, *array.shape))
        shape = array.shape
        rows = shape[axis] // pieces
        array = array.reshape(*shape[:axis], rows, pieces, *shape[axis + 1 :])
        return jnp.moveaxis(array, axis + 1, 0)

    return map_rows(split, row_axes, batch)


def _join_pieces(pieces: Array) -> Array:
    """The inverse of `_split_batch` for an array [K, B / K, ...]: [B, ...]."""
    count, rows = pieces.shape[:2]
    return jnp.moveaxis(pieces, 0, 1).reshape(count * rows, *pieces.shape[2:])
