"""Dtypes and ranks that the package promotes by hand.

JAX does so by itself, unless it was told not to (`jax_numpy_dtype_promotion="strict"` and
`jax_numpy_rank_promotion="raise"`), as people do to find their own mistakes.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike


def wide_dtype(dtype: DTypeLike) -> Any:
    """The dtype in which gates are evaluated: this floating dtype, but at least float32."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


def match_rank(array: Array, like: Array) -> Array:
    """`array [H]` with leading axes of size 1 up to the rank of `like [..., H]`."""
    return lax.expand_dims(array, range(like.ndim - array.ndim))


def match(array: Array, like: Array) -> Array:
    """The same, in the dtype of `like`."""
    return match_rank(array, like).astype(like.dtype)
