"""A recurrence from two passes, forward and backward: what the fast implementations share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations import plain
from grujax.implementations.gates import Gates
from grujax.implementations.types import Masks, Walk
from grujax.params import GRUParams


class Inputs(NamedTuple):
    """What the recurrence is differentiated by; the gradient is one of these too."""

    params: GRUParams
    xs: Array  # [T, B, I]
    h0: Array  # [B, H]
    reset_state: Array  # [B, H]


class Kept(NamedTuple):
    """What the forward pass keeps for the backward pass."""

    inputs: Inputs
    masks: Masks
    hs: Array  # [T, B, H]
    gates: Gates | None  # of [T, B, H]; recomputed chunk by chunk where None


Outputs = tuple[Array, Array, Gates | None]  # h_last [B, H], hs [T, B, H], gates of [T, B, H]


class Passes(NamedTuple):
    """What an implementation computes, for one batch axis, T and B at least 1.

    Two walks side by side are passes too. All but `xs`, and what depends on neither of them, then
    has a leading axis of two, and so have the results; `reverse` has no meaning.
    """

    forward: Callable[[bool, bool, Inputs, Masks], Outputs]  # reverse, whether to keep the gates
    backward: Callable[[bool, Kept, Array, Array], Inputs]  # reverse, ..., d_last, d_hs
    pays_to_keep_gates: Callable[[Inputs], bool]
    # The same by JAX alone, for what the passes have no rule for: `plain.run`.
    plain: Callable[..., tuple[Array, Array]] = plain.run


def run_passes(
    passes: Passes,
    params: GRUParams,
    xs: Array,  # [T, *B, I]
    h0: Array,  # [*B, H]
    reset_state: Array,  # [*B, H]
    masks: Masks,
    reverse: bool,
) -> tuple[Array, Array]:
    if not has_steps(xs):
        return passes.plain(params, xs, h0, reset_state, masks, reverse)
    arguments = flatten_batch(Inputs(params, xs, h0, reset_state), masks)
    h_last, hs, _ = _recurrence(passes, reverse, False, *arguments)
    return h_last.reshape(h0.shape), hs.reshape(*xs.shape[:-1], h0.shape[-1])


def run_both_passes(
    passes: Passes, forward: Walk, backward: Walk
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Two walks over the same `xs` by passes that take them side by side: see `are_alike`."""
    (inputs, masks), (others, other_masks) = (
        flatten_batch(Inputs(walk.params, walk.xs, walk.h0, walk.reset_state), walk.masks)
        for walk in (forward, backward)
    )
    nothing: Any = None
    own = [walk._replace(xs=nothing) for walk in (inputs, others)]
    stacked = jax.tree.map(lambda *pair: jnp.stack(pair), *own)._replace(xs=inputs.xs)
    both = Masks(
        exists=masks.exists,
        starts=_stack_starts(masks.starts, other_masks.starts),
        keeps=_stack(masks.keeps, other_masks.keeps),
        zoneout=masks.zoneout,
        scale=_stack(masks.scale, other_masks.scale),
    )
    h_last, hs, _ = _recurrence(passes, False, False, stacked, both)
    h_last = h_last.reshape(2, *forward.h0.shape)
    hs = hs.reshape(2, *forward.xs.shape[:-1], forward.h0.shape[-1])
    return (h_last[0], hs[0]), (h_last[1], hs[1])


def are_alike(forward: Walk, backward: Walk) -> bool:
    """Whether two walks over the same inputs are of one size and kind."""

    def kind(walk: Walk) -> Any:
        leaves, structure = jax.tree.flatten(walk.params)
        return structure, walk.xs.dtype, [leaf.shape for leaf in leaves]

    return has_steps(forward.xs) and kind(forward) == kind(backward)


def has_steps(xs: Array) -> bool:
    """Whether `xs [T, *B, I]` has steps to cut into chunks: their number may be zero, or symbolic
    where `jax.export` leaves it open."""
    return all(isinstance(size, int) and size > 0 for size in xs.shape[:-1])


def flatten_batch(inputs: Inputs, masks: Masks) -> tuple[Inputs, Masks]:
    """All batch axes as one."""
    params, xs, h0, reset_state = inputs
    axes = h0.ndim - 1

    def flatten(array: Any, axis: int) -> Any:
        if array is None:
            return None
        return array.reshape(*array.shape[:axis], -1, *array.shape[axis + axes :])

    flat_masks = Masks(
        exists=flatten(masks.exists, 1),
        starts=flatten(masks.starts, 1),
        keeps=flatten(masks.keeps, 1),
        zoneout=masks.zoneout,
        scale=flatten(masks.scale, 0),
    )
    states = flatten(h0, 0), flatten(reset_state, 0)
    return Inputs(params, flatten(xs, 1), *states), flat_masks


def states_before(
    reverse: bool,
    hs: Array,
    h0: Array,
    reset_state: Array,
    starts: Array | None,
    time: int = 0,
) -> Array:
    """The states before all steps, `[T, B, H]`, as the walk had them; `time` is the axis of T."""
    first, after_reset = (jnp.expand_dims(state, time) for state in (h0, reset_state))
    begin, end = int(reverse), hs.shape[time] - int(not reverse)
    others = jax.lax.slice_in_dim(hs, begin, end, axis=time)
    before = jnp.concatenate([others, first] if reverse else [first, others], axis=time)
    return before if starts is None else jnp.where(starts[..., None], after_reset, before)


def _stack(one: Array | None, other: Array | None) -> Array | None:
    return None if one is None or other is None else jnp.stack([one, other])


def _stack_starts(one: Array | None, other: Array | None) -> Array | None:
    """The backward walk starts afresh at the rows' last steps, where the forward one does not."""
    if one is None and other is not None:
        one = jnp.zeros_like(other)
    return _stack(one, other)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _recurrence(
    passes: Passes, reverse: bool, keep_gates: bool, inputs: Inputs, masks: Masks
) -> Outputs:
    """The gates are kept for the gradient alone."""
    return passes.forward(reverse, keep_gates, inputs, masks)


def _recurrence_fwd(
    passes: Passes, reverse: bool, keep_gates: bool, inputs: Inputs, masks: Masks
) -> tuple[Outputs, Kept]:
    pays = passes.pays_to_keep_gates(inputs)
    h_last, hs, gates = _recurrence(passes, reverse, pays, inputs, masks)
    return (h_last, hs, gates if keep_gates else None), Kept(inputs, masks, hs, gates)


def _recurrence_bwd(
    passes: Passes, reverse: bool, _keep: bool, kept: Kept, cotangents: Outputs
) -> tuple:
    d_last, d_hs, _gates = cotangents
    return _gradient(passes, reverse, kept, d_last, d_hs), None


_recurrence.defvjp(_recurrence_fwd, _recurrence_bwd)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gradient(passes: Passes, reverse: bool, kept: Kept, d_last: Array, d_hs: Array) -> Inputs:
    return passes.backward(reverse, kept, d_last, d_hs)


def _gradient_fwd(passes: Passes, reverse: bool, *arguments: Any) -> tuple[Inputs, Any]:
    return _gradient(passes, reverse, *arguments), arguments


def _gradient_bwd(
    passes: Passes, reverse: bool, arguments: Any, second_cotangents: Inputs
) -> tuple:
    kept, *cotangents = arguments

    def gradient_of_plain(inputs: Inputs, *cotangents: Array) -> Inputs:
        def forward(inputs: Inputs) -> tuple[Array, Array]:
            return passes.plain(*inputs, kept.masks, reverse)

        return jax.vjp(forward, inputs)[1](tuple(cotangents))[0]

    _, pull_back = jax.vjp(gradient_of_plain, kept.inputs, *cotangents)
    d_inputs, *d_cotangents = pull_back(second_cotangents)
    # `hs` and the gates are functions of the inputs, through which the plain gradient has gone.
    nothing: Any = None
    return Kept(d_inputs, masks=nothing, hs=nothing, gates=nothing), *d_cotangents


_gradient.defvjp(_gradient_fwd, _gradient_bwd)
