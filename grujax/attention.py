"""Additive attention (Bahdanau et al. 2015) for recurrent decoders. Pure functions, time-major.

    S   keys, such as the steps of a source sentence     keys    [S, B, K]
    A   attention size                                   queries [..., B, Q]

Queries have the batch axes of the keys, and any number of axes before them: one decoder state
`[B, Q]`, all states of a decoder `[T, B, Q]`, or the states of several beams, which share the keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import ArrayLike, DTypeLike

from grujax.checks import as_array, as_features, as_floating, check_arrays
from grujax.jax_support.promotion import match_rank, wide_dtype
from grujax.jax_support.pytrees import ArrayTree, register
from grujax.params import Initializer, check_drawing, draw

__all__ = [
    "AdditiveAttentionParams",
    "additive_attention",
    "init_additive_attention",
    "project_keys",
]


@register
@dataclass(frozen=True, eq=False)
class AdditiveAttentionParams(ArrayTree):
    """Parameters of additive attention: a pytree of Q·A + K·A + 2·A numbers.

    Attributes:
        w_query: `[Q, A]`, weights of the queries.
        w_key: `[K, A]`, weights of the keys.
        b: `[A]`, biases.
        v: `[A]`, weights of the energy.

    Example:
        >>> params = AdditiveAttentionParams(
        ...     w_query=jnp.ones((5, 3)), w_key=jnp.ones((4, 3)), b=jnp.zeros(3), v=jnp.ones(3)
        ... )
        >>> params.v.shape
        (3,)
    """

    w_query: Array  #: [Q, A]
    w_key: Array  #: [K, A]
    b: Array  #: [A]
    v: Array  #: [A]


_AXES = {"w_query": ("Q", "A"), "w_key": ("K", "A"), "b": ("A",), "v": ("A",)}


def init_additive_attention(
    key: Array,
    query_size: int,
    key_size: int,
    attention_size: int,
    *,
    dtype: DTypeLike = jnp.float32,
    kernel_init: Initializer = initializers.lecun_normal(),
) -> AdditiveAttentionParams:
    """Draws the parameters of additive attention. The biases are zeros.

    Args:
        key: a JAX random key.
        query_size: Q, a positive integer.
        key_size: K, a positive integer.
        attention_size: A, a positive integer.
        dtype: the floating dtype of all parameters.
        kernel_init: initializes `w_query [Q, A]`, `w_key [K, A]`, and `v` with the shape `[A, 1]`.

    Returns:
        `AdditiveAttentionParams` of the given dtype.

    Raises:
        ValueError: if a size is not a positive integer, or `dtype` is not floating.

    Example:
        >>> params = init_additive_attention(jax.random.key(0), 8, 6, attention_size=4)
        >>> params.w_key.shape
        (6, 4)

    Reference:
        Bahdanau, Cho and Bengio 2015, https://arxiv.org/abs/1409.0473
    """
    sizes = {"query_size": query_size, "key_size": key_size, "attention_size": attention_size}
    check_drawing(key, dtype, sizes, kernel_init=kernel_init)
    query_key, key_key, v_key = jax.random.split(key, 3)
    return AdditiveAttentionParams(
        w_query=draw(kernel_init, query_key, (query_size, attention_size), dtype),
        w_key=draw(kernel_init, key_key, (key_size, attention_size), dtype),
        b=jnp.zeros(attention_size, dtype),
        v=draw(kernel_init, v_key, (attention_size, 1), dtype)[:, 0],
    )


def project_keys(
    params: AdditiveAttentionParams, keys: ArrayLike, *, mask: ArrayLike | None = None
) -> Array:
    """Computes the part of the energy that all queries share: `keys·W_key + b`.

    Args:
        params: `AdditiveAttentionParams`.
        keys: `[S, B, K]`, such as the states of an encoder; B stands for any number of batch axes.
        mask: `[S, B]` bool, true for valid keys; all keys are valid if None. The values of the
            other keys, including NaN, have no effect.

    Returns:
        `[S, B, A]`, in the promoted dtype of `keys` and `params`.

    Raises:
        ValueError: if a shape or dtype does not match.

    Example:
        >>> params = init_additive_attention(jax.random.key(0), 8, 6, attention_size=4)
        >>> project_keys(params, jnp.ones((5, 3, 6))).shape
        (5, 3, 4)

    Reference:
        Bahdanau, Cho and Bengio 2015, https://arxiv.org/abs/1409.0473
    """
    check_arrays(params, AdditiveAttentionParams, _AXES)
    keys = as_features("keys", keys, params.w_key.shape[0], "key size")
    if keys.ndim < 2:
        raise ValueError(f"`keys` must be [S, ..., K], got shape {list(keys.shape)}.")
    products = _masked(keys, _as_mask(mask, keys.shape[:-1])) @ params.w_key
    return products + match_rank(params.b, products)


def additive_attention(
    params: AdditiveAttentionParams,
    queries: ArrayLike,
    projected_keys: ArrayLike,
    values: ArrayLike,
    *,
    mask: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Computes additive attention for any number of queries.

        e_s = v · tanh(q·W_query + k_s·W_key + b)       energy of key s
        α   = softmax(e)                                 over the valid keys
        c   = Σ_s α_s value_s                            context

    Args:
        params: `AdditiveAttentionParams`.
        queries: `[..., B, Q]`: the batch axes of the keys, after any number of other axes.
        projected_keys: `[S, B, A]`, the result of `project_keys`.
        values: `[S, B, V]`, often the keys themselves.
        mask: `[S, B]` bool, true for valid keys; all keys are valid if None. The other keys and
            values, including NaN, affect neither results nor gradients. In a row without valid
            keys the context is 0.

    Returns:
        `(context [..., B, V], weights [..., B, S])`. The weights sum to 1, or to 0 in a row without
        valid keys, and are computed in at least float32. Both have the promoted dtype of the
        arguments.

    Raises:
        ValueError: if a shape or dtype does not match.

    Example:
        >>> params = init_additive_attention(jax.random.key(0), 8, 6, attention_size=4)
        >>> keys, queries = jnp.ones((5, 3, 6)), jnp.ones((7, 3, 8))  # 5 and 7 steps
        >>> mask = jnp.arange(5)[:, None] < jnp.array([5, 2, 0])
        >>> memory = project_keys(params, keys, mask=mask)
        >>> context, weights = additive_attention(params, queries, memory, keys, mask=mask)
        >>> context.shape, weights.shape
        ((7, 3, 6), (7, 3, 5))

    Reference:
        Bahdanau, Cho and Bengio 2015, "Neural machine translation by jointly learning to align and
        translate", https://arxiv.org/abs/1409.0473
    """
    check_arrays(params, AdditiveAttentionParams, _AXES)
    queries = as_features("queries", queries, params.w_query.shape[0], "query size")
    projected = as_features("projected_keys", projected_keys, params.v.shape[0], "attention size")
    values = as_floating("values", values)
    _check_shapes(queries, projected, values)
    mask = _as_mask(mask, projected.shape[:-1])
    dtype = jnp.result_type(queries, projected, values, params.v)

    # S becomes the second-to-last axis, so that the softmax reads adjacent numbers.
    keys = jnp.moveaxis(_masked(projected, mask), 0, -2)  # [B, S, A]
    values = jnp.moveaxis(_masked(values, mask), 0, -2)  # [B, S, V]
    projected_queries = (queries @ params.w_query)[..., None, :]  # [..., B, 1, A]
    hidden = jnp.tanh(projected_queries + match_rank(keys, projected_queries))  # [..., B, S, A]
    energy = (hidden @ params.v).astype(wide_dtype(dtype))
    if mask is None:
        weights = jax.nn.softmax(energy)
    else:
        valid = match_rank(jnp.moveaxis(mask, 0, -1), energy)  # [..., B, S]
        lowest = jnp.finfo(energy.dtype).min
        weights = jnp.where(valid, jax.nn.softmax(jnp.where(valid, energy, lowest)), 0)
    weights = weights.astype(dtype)
    return jnp.einsum("...s,...sv->...v", weights, values), weights


def _masked(array: Array, mask: Array | None) -> Array:
    """Sets `array` to zero where the mask is false."""
    return array if mask is None else jnp.where(mask[..., None], array, 0)


def _as_mask(mask: ArrayLike | None, shape: tuple[int, ...]) -> Array | None:
    if mask is None:
        return None
    array = as_array("mask", mask)
    if array.dtype != jnp.bool_:
        raise ValueError(f"`mask` must be bool, got {array.dtype.name}.")
    if array.shape != shape:
        raise ValueError(f"`mask` has shape {list(array.shape)} but the keys are {list(shape)}.")
    return array


def _check_shapes(queries: Array, projected: Array, values: Array) -> None:
    if projected.ndim < 2:
        shape = list(projected.shape)
        raise ValueError(f"`projected_keys` must be [S, ..., A], got shape {shape}.")
    if values.ndim < 2 or values.shape[:-1] != projected.shape[:-1]:
        raise ValueError(
            f"`values` has shape {list(values.shape)}, but its axes before the last must be those "
            f"of `projected_keys`, {list(projected.shape[:-1])}."
        )
    batch = projected.shape[1:-1]
    got = queries.shape[max(queries.ndim - 1 - len(batch), 0) : -1]
    if got != batch:
        raise ValueError(
            f"`queries` has shape {list(queries.shape)}, but its axes before the last must end "
            f"with the batch axes of the keys, {list(batch)}."
        )
