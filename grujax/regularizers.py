"""Random regularizers of a recurrence: dropout, of inputs and of the state, and zoneout.

All draw with a key; without one they are in evaluation mode. No gradient flows into a rate.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.checks import check_rate, is_traced
from grujax.implementations.types import RecurrenceArgs, StepMasks
from grujax.jax_support.promotion import wide_dtype


def dropout(key: Array, xs: Array, rate: ArrayLike, broadcast_dims: tuple[int, ...] = ()) -> Array:
    """Inverted dropout: zeroes entries with probability `rate` and scales the others to match.

    Args:
        key: a JAX random key.
        xs: a floating array of any shape.
        rate: a number in [0, 1). May be traced.
        broadcast_dims: the axes along which all entries share one draw.

    Returns:
        An array with the shape and dtype of `xs`.

    Example:
        >>> xs = dropout(jax.random.key(0), jnp.ones(1000), 0.75)
        >>> sorted({*xs.tolist()}), 200 < int((xs > 0).sum()) < 300
        ([0.0, 4.0], True)

    Reference:
        Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html
    """
    if is_off(rate):
        return xs
    dtype = wide_dtype(xs.dtype)
    rate = jax.lax.stop_gradient(jnp.asarray(rate, dtype))  # the same draw with `jax_enable_x64`
    shape = tuple(1 if axis in broadcast_dims else n for axis, n in enumerate(xs.shape))
    keep = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(keep, xs.astype(dtype) / (1 - rate), 0).astype(xs.dtype)


def draw_masks(
    masks: StepMasks,
    key: Array | None,
    zoneout: ArrayLike,
    recurrent_dropout: ArrayLike,
    steps: int,
    state: Array,
) -> StepMasks:
    """Adds the masks of zoneout and recurrent dropout, for T `steps` of a `state [B, H]`."""
    check_rate("zoneout", zoneout)
    check_rate("recurrent_dropout", recurrent_dropout)
    dtype = wide_dtype(state.dtype)
    if not is_off(zoneout):
        rate = jax.lax.stop_gradient(jnp.asarray(zoneout, dtype))
        if key is None:
            masks = masks._replace(zoneout_rate=rate)
        else:
            shape = (steps, *state.shape)
            drawn = jax.random.bernoulli(jax.random.fold_in(key, 0), rate, shape)
            masks = masks._replace(kept=drawn if masks.kept is None else masks.kept | drawn)
    if key is not None and not is_off(recurrent_dropout):
        ones = jnp.ones(state.shape, dtype)
        mask = dropout(jax.random.fold_in(key, 1), ones, recurrent_dropout)
        masks = masks._replace(recurrent_dropout_mask=mask)
    return masks


def drop_inputs(args: RecurrenceArgs, key: Array | None, rate: ArrayLike) -> RecurrenceArgs:
    """Drops entries of `xs [T, B, I]` by one mask `[B, I]`, the same at all steps."""
    check_rate("input_dropout", rate)
    if key is None or is_off(rate):
        return args
    return args.replace(xs=dropout(jax.random.fold_in(key, 2), args.xs, rate, broadcast_dims=(0,)))


def is_off(rate: ArrayLike) -> bool:
    """Whether a rate is known to be zero, so that its regularizer costs nothing."""
    return not is_traced(rate) and float(rate) == 0  # type: ignore[arg-type]
