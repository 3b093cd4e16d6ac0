"""Reductions that neither overflow nor hide a NaN or an infinity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from grujax.jax_support.lapack import one_matrix_at_a_time


def stable_norm(values: Array, axis: int = 0) -> Array:
    """The Euclidean norm, also of values whose squares underflow or overflow; NaN if one is NaN."""
    largest = jnp.max(jnp.abs(values), axis=axis, keepdims=True, initial=0)
    scale = jnp.where((largest > 0) & (largest < jnp.inf), largest, 1)
    return jnp.squeeze(scale, axis) * jnp.linalg.norm(values / scale, axis=axis)


def of_finite(function: Callable[[Array], Any], matrices: Array) -> Array:
    """`function` from `[B, H, H]` to `[B, H]`; NaN for a matrix with a NaN or an infinity.

    What LAPACK does with those is not defined.
    """
    finite = jnp.isfinite(matrices).all((-2, -1))
    of_each = jnp.vectorize(one_matrix_at_a_time(function), signature="(n,n)->(n)")
    values = of_each(jnp.where(finite[..., None, None], matrices, 0))
    return jnp.where(finite[..., None], values, jnp.nan)


def sort_descending(values: Array) -> Array:
    """Sorts the last axis; all NaN if one is NaN, because its place is unknown."""
    is_known = ~jnp.isnan(values).any(-1, keepdims=True)
    return jnp.where(is_known, -jnp.sort(-values, axis=-1), jnp.nan)
