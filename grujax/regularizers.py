"""What regularises a recurrence at random: dropout, zoneout, recurrent dropout.

All three draw with a key, and are in evaluation mode without one. No gradient flows into a rate.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.implementations.types import Masks


def dropout(key: Array, xs: Array, rate: ArrayLike) -> Array:
    """Inverted dropout: entries are zeroed with probability `rate`, the rest scaled to match."""
    if is_off(rate):
        return xs
    rate = jax.lax.stop_gradient(jnp.asarray(rate))
    keep = jax.random.bernoulli(key, 1 - rate, xs.shape)
    return jnp.where(keep, xs / (1 - rate), 0).astype(xs.dtype)


def draw_masks(
    masks: Masks,
    key: Array | None,
    zoneout: ArrayLike,
    recurrent_dropout: ArrayLike,
    steps: int,
    state: Array,
) -> Masks:
    """`masks` with what zoneout and recurrent dropout add for a `state [B, H]` over T `steps`."""
    check_rate("zoneout", zoneout)
    check_rate("recurrent_dropout", recurrent_dropout)
    dtype = jnp.promote_types(state.dtype, jnp.float32)
    if not is_off(zoneout):
        rate = jax.lax.stop_gradient(jnp.asarray(zoneout, dtype))
        if key is None:
            masks = masks._replace(zoneout=rate)
        else:
            shape = (steps, *state.shape)
            keeps = jax.random.bernoulli(jax.random.fold_in(key, 0), rate, shape)
            masks = masks._replace(keeps=keeps)
    if key is not None and not is_off(recurrent_dropout):
        ones = jnp.ones(state.shape, dtype)
        masks = masks._replace(scale=dropout(jax.random.fold_in(key, 1), ones, recurrent_dropout))
    return masks


def check_rate(name: str, rate: ArrayLike) -> None:
    """Raises ValueError unless `rate` is a number in [0, 1), or traced."""
    if jnp.ndim(rate) != 0:
        raise ValueError(f"`{name}` must be one number, got shape {list(jnp.shape(rate))}.")
    if not _is_traced(rate) and not 0 <= float(rate) < 1:  # type: ignore[arg-type]
        raise ValueError(f"`{name}` must lie in [0, 1), got {rate}.")


def is_off(rate: ArrayLike) -> bool:
    """Whether a rate is known to be zero, so that its regulariser costs nothing."""
    return not _is_traced(rate) and float(rate) == 0  # type: ignore[arg-type]


def _is_traced(rate: Any) -> bool:
    return isinstance(rate, jax.core.Tracer)
