"""Recurrences made of a forward and a backward pass, as differentiable functions.

The scan, the kernels and Newton's method each give `VJPRules`. Gradients of the gradient are taken
by JAX, through the plain implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations import plain
from grujax.implementations.types import (
    Outputs,
    Primals,
    RecurrenceArgs,
    Residuals,
    StepMasks,
)

LONG = 256  # steps from which on the gates are recomputed,
WIDE = 16  # if the batch has at least this many rows


def keeps_gates(args: RecurrenceArgs) -> bool:
    """Whether the forward pass saves the gates for the backward pass, for `xs [T, B, I]`.

    Saved gates take 4·T·B·H numbers; recomputing them takes one matmul, as large as that of the
    recurrence itself. Long sequences with many rows recompute them, all others save them.

    This is part of the traced program and depends on shapes alone, so a program traced on a machine
    with a GPU is the one traced without. On a GPU, where memory is ample and the matmul is not
    hidden, saving them for long sequences too would be faster; that is the price.
    """
    steps, batch, _ = args.xs.shape
    return steps < LONG or batch < WIDE


class VJPRules(NamedTuple):
    """What an implementation computes, for one batch axis, T ≥ 1 and B ≥ 1.

    The rules may also be for a batch of two models, the directions of a bidirectional layer: see
    `run_both`.
    """

    forward: Callable[[RecurrenceArgs, bool], Outputs]  # args, whether to save the gates
    backward: Callable[[Residuals, Array, Array], Primals]  # residuals, d_last, d_hs
    keeps_gates: Callable[[RecurrenceArgs], bool] = keeps_gates
    plain: Callable[[RecurrenceArgs], tuple[Array, Array]] = plain.run  # in differentiable JAX


def run(rules: VJPRules, args: RecurrenceArgs) -> tuple[Array, Array]:
    """`(h_last [B, H], hs [T, B, H])`, for any number of batch axes and any T."""
    if not has_steps(args.xs):
        return rules.plain(args)
    h_last, hs, _ = _recurrence(rules, False, flatten_batch(args))
    return h_last.reshape(args.h0.shape), hs.reshape(*args.xs.shape[:-1], args.h0.shape[-1])


def run_both(
    rules: VJPRules, forward: RecurrenceArgs, backward: RecurrenceArgs
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Two recurrences over the same `xs` in one call; see `can_run_both`.

    The rules take a batch of two models: all leaves of the arguments but `xs`, `masks.valid` and
    `masks.zoneout_rate` have a leading axis of two, and so have the results. The first model runs
    forward in time and the second backward; `args.reverse` is ignored.
    """
    args = _stack_directions(flatten_batch(forward), flatten_batch(backward))
    h_last, hs, _ = _recurrence(rules, False, args)
    h_last = h_last.reshape(2, *forward.h0.shape)
    hs = hs.reshape(2, *forward.xs.shape[:-1], forward.h0.shape[-1])
    return (h_last[0], hs[0]), (h_last[1], hs[1])


def can_run_both(forward: RecurrenceArgs, backward: RecurrenceArgs) -> bool:
    """Whether two recurrences over the same inputs have parameters of equal shapes and form."""

    def kind(args: RecurrenceArgs) -> Any:
        leaves, structure = jax.tree.flatten(args.params)
        return structure, args.xs.dtype, [leaf.shape for leaf in leaves]

    return has_steps(forward.xs) and kind(forward) == kind(backward)


def has_steps(xs: Array) -> bool:
    """Whether T and all batch axes of `xs [T, B, I]` are known and not zero.

    A size is not known where `jax.export` leaves it symbolic.
    """
    return all(isinstance(size, int) and size > 0 for size in xs.shape[:-1])


def flatten_batch(args: RecurrenceArgs) -> RecurrenceArgs:
    """All batch axes as one."""
    axes = args.h0.ndim - 1

    def flatten(array: Array, axis: int) -> Array:
        return array.reshape(*array.shape[:axis], -1, *array.shape[axis + axes :])

    return args.map_batch(flatten)


def _stack_directions(forward: RecurrenceArgs, backward: RecurrenceArgs) -> RecurrenceArgs:
    """Two recurrences over one `xs` as a batch of two models."""
    params, h0, reset_state = jax.tree.map(
        lambda *pair: jnp.stack(pair),
        (forward.params, forward.h0, forward.reset_state),
        (backward.params, backward.h0, backward.reset_state),
    )
    one, other = forward.masks, backward.masks
    restart = one.restart
    if restart is None and other.restart is not None:
        # The backward recurrence restarts at each row's last step, the forward one does not.
        restart = jnp.zeros_like(other.restart)
    masks = StepMasks(
        valid=one.valid,
        restart=_stack(restart, other.restart),
        zoneout_mask=_stack(one.zoneout_mask, other.zoneout_mask),
        zoneout_rate=one.zoneout_rate,
        recurrent_dropout_mask=_stack(one.recurrent_dropout_mask, other.recurrent_dropout_mask),
    )
    return RecurrenceArgs(params, forward.xs, h0, reset_state, masks)


def _stack(one: Array | None, other: Array | None) -> Array | None:
    return None if one is None or other is None else jnp.stack([one, other])


# --- differentiation ------------------------------------------------------------------------------

_NONE: Any = None  # the cotangent of a subtree that is not differentiated


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recurrence(rules: VJPRules, keep_gates: bool, args: RecurrenceArgs) -> Outputs:
    return rules.forward(args, keep_gates)


def _recurrence_fwd(
    rules: VJPRules, keep_gates: bool, args: RecurrenceArgs
) -> tuple[Outputs, Residuals]:
    h_last, hs, gates = _recurrence(rules, rules.keeps_gates(args), args)
    return (h_last, hs, gates if keep_gates else None), Residuals(args, hs, gates)


def _recurrence_bwd(
    rules: VJPRules, _keep_gates: bool, residuals: Residuals, cotangents: Outputs
) -> tuple[RecurrenceArgs]:
    d_last, d_hs, _gates = cotangents
    gradient = _gradient(rules, residuals, d_last, d_hs)
    return (residuals.args.with_primals(gradient, masks=_NONE),)


_recurrence.defvjp(_recurrence_fwd, _recurrence_bwd)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gradient(rules: VJPRules, residuals: Residuals, d_last: Array, d_hs: Array) -> Primals:
    return rules.backward(residuals, d_last, d_hs)


def _gradient_fwd(rules: VJPRules, *arguments: Any) -> tuple[Primals, Any]:
    return _gradient(rules, *arguments), arguments


def _gradient_bwd(rules: VJPRules, arguments: Any, second_cotangents: Primals) -> tuple:
    residuals, *cotangents = arguments
    args = residuals.args

    def gradient_of_plain(primals: Primals, *cotangents: Array) -> Primals:
        def forward(primals: Primals) -> tuple[Array, Array]:
            return rules.plain(args.with_primals(primals))

        return jax.vjp(forward, primals)[1](tuple(cotangents))[0]

    _, pull_back = jax.vjp(gradient_of_plain, args.primals, *cotangents)
    d_primals, *d_cotangents = pull_back(second_cotangents)
    # `hs` and the gates are functions of the primals; the plain gradient includes that path.
    d_args = args.with_primals(d_primals, masks=_NONE)
    return Residuals(d_args, hs=_NONE, gates=_NONE), *d_cotangents


_gradient.defvjp(_gradient_fwd, _gradient_bwd)
