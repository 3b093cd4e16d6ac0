"""The implementation "plain": the readable reference.

`lax.scan` over the equations of `grujax.cell`, differentiated by JAX, in every mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax import meshes
from grujax.cell import gru_gates, update_state
from grujax.implementations.types import RecurrenceArgs, expand_like
from grujax.params import GRUParams


def run(args: RecurrenceArgs) -> tuple[Array, Array]:
    """`(h_last [B, H], hs [T, B, H])`, one step after the other."""
    masks = args.masks

    def cell(params: GRUParams, h: Array, inputs: tuple[Array, Array | None]) -> Array:
        x, kept = inputs
        gates = gru_gates(params, masks.apply_recurrent_dropout(h), x)
        new_h = update_state(masks.apply_zoneout(gates.update), gates.candidate, h)
        return new_h if kept is None else jnp.where(kept, h, new_h)

    return scan_masked(cell, args.replace(xs=(args.xs, masks.kept)))


def scan_masked(cell: Callable[[Any, Any, Any], Any], args: RecurrenceArgs) -> tuple[Any, Any]:
    """Any cell over time, `cell(params, state, x) -> state`, skipping steps that are not valid.

    Here `args.params` is what the cell takes, `args.xs` and `args.reset_states` are any pytrees of
    `[T, B, ...]`, `args.h0` and `args.reset_state` of `[B, ...]`. Of the masks, `valid` and
    `restart` act.
    """

    def step(state, inputs):
        x, valid, restart, own_reset_state = inputs
        if restart is not None:
            after_reset = args.reset_state if own_reset_state is None else own_reset_state
            state = select(restart, after_reset, state)
        new_state = cell(args.params, state, x)
        if valid is None:
            return new_state, new_state
        output = select(valid, new_state, jax.tree.map(jnp.zeros_like, new_state))
        return select(valid, new_state, state), output

    inputs = (args.xs, args.masks.valid, args.masks.restart, args.reset_states)
    return meshes.scan(step, args.h0, inputs, reverse=args.reverse)


def select(condition: Array, if_true: Any, if_false: Any) -> Any:
    """`where` over pytrees of `[*condition.shape, ...]`."""
    return jax.tree.map(lambda a, b: jnp.where(expand_like(condition, a), a, b), if_true, if_false)
