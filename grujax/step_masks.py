"""From `lengths`, `mask`, `resets` and `reset_state` to what a recurrence does at each step."""

from __future__ import annotations

from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.implementations.plain import select
from grujax.implementations.types import StepMasks
from grujax.meshes import RowSharding
from grujax.time_checks import check_flags, check_lengths, check_mask


def make_valid_mask(steps: int, lengths: ArrayLike) -> Array:
    """`[T, B]` bool, time-major: whether step t of row b is valid, `t < lengths[b]`."""
    lengths = jnp.asarray(lengths)
    largest = min(jnp.iinfo(lengths.dtype).max, jnp.iinfo(jnp.int32).max)
    lengths = jnp.clip(lengths, 0, largest).astype(jnp.int32)  # nothing wraps around
    times = jnp.arange(steps, dtype=jnp.int32)
    return times.reshape(steps, *(1,) * lengths.ndim) < lengths[None]


def make_step_masks(
    steps: int,
    batch: tuple[int, ...],
    lengths: ArrayLike | None,
    mask: ArrayLike | None,
    resets: ArrayLike | None,
    reverse: bool,
    rows: RowSharding,
) -> StepMasks:
    """Checks `lengths`, `mask` and `resets`, and makes the masks of a recurrence of them."""
    valid = restart = kept = None
    if lengths is not None:
        valid = make_valid_mask(steps, rows.place(check_lengths(lengths, steps, batch), 0))
    if mask is not None and (taken := check_mask(mask, steps, batch)) is not None:
        kept = ~rows.place(taken, 1)[..., None]
    if resets is not None:
        restart = rows.place(check_flags("resets", resets, steps, batch), 1)
    if restart is not None and valid is not None:
        restart = restart & valid
    if reverse:
        restart = _restart_in_reverse(valid, restart)
    return StepMasks(valid, restart, kept)


def split_reset_states(
    state: Any, after_reset: Any, masks: StepMasks, steps: int, reverse: bool
) -> tuple[Any, Any]:
    """`reset_state` and `reset_states` of `RecurrenceArgs`.

    Args:
        state: the initial state, a pytree of `[B, ...]`.
        after_reset: the state at resets, a pytree of `[B, ...]` or `[T, B, ...]`; the same object
            as `state` if it is equal.
        masks: of the recurrence.
        steps: T.
        reverse: the direction.
    """
    pairs = zip(jax.tree.leaves(after_reset), jax.tree.leaves(state), strict=True)
    has_steps = any(jnp.ndim(leaf) > jnp.ndim(of) for leaf, of in pairs)
    starts_in_between = reverse and masks.valid is not None and after_reset is not state
    if not has_steps and not starts_in_between:
        return after_reset, None

    def of_every_step(leaf: Array, of: Array) -> Array:
        return jnp.broadcast_to(leaf, (steps, *of.shape))

    reset_states = jax.tree.map(of_every_step, after_reset, state)
    if starts_in_between and masks.valid is not None:
        is_end = jnp.concatenate([~masks.valid[1:], jnp.zeros_like(masks.valid[:1])])
        first = jax.tree.map(of_every_step, state, state)
        reset_states = select(is_end, first, reset_states)
    return state, reset_states


def _restart_in_reverse(valid: Array | None, restart: Array | None) -> Array | None:
    """In reverse, the state restarts at t if the next segment, or the padding, starts at t + 1.

    Before the last valid step of a row the state is `h0` anyway. It is marked all the same, for
    gradients that read the states before the steps from `hs`, which is zero in the padding;
    `split_reset_states` sees to it that the state there is `h0`.
    """
    boundaries = [] if valid is None else [~valid]
    boundaries += [] if restart is None else [restart]
    if not boundaries:
        return None
    boundary = reduce(jnp.logical_or, boundaries)
    return jnp.concatenate([boundary[1:], jnp.zeros_like(boundary[:1])])
