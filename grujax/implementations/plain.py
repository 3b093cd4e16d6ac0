"""The readable reference: `lax.scan` over the cell, differentiated by JAX, in every mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.cell import gru_gates, update_state
from grujax.implementations.types import Masks, match
from grujax.params import GRUParams


def run(
    params: GRUParams,
    xs: Array,  # [T, B, I]
    h0: Array,  # [B, H]
    reset_state: Array,  # [B, H]
    masks: Masks,
    reverse: bool,
) -> tuple[Array, Array]:
    def cell(params: GRUParams, h: Array, inputs: tuple[Array, Array | None]) -> Array:
        x, keeps = inputs
        gates = gru_gates(params, masks.seen(h), x)
        gates = gates._replace(update=masks.expected_update(gates.update))
        new_h = update_state(gates, h)
        return new_h if keeps is None else jnp.where(keeps, h, new_h)

    inputs = (xs, masks.keeps)
    return scan_masked(cell, params, inputs, h0, reset_state, masks.exists, masks.starts, reverse)


def scan_masked(
    cell: Callable[[Any, Any, Any], Any],
    params: Any,
    xs: Any,  # a pytree of [T, B, ...]
    state0: Any,  # a pytree of [B, ...]
    reset_state: Any,  # as state0
    exists: Array | None,  # [T, B] bool
    starts: Array | None,  # [T, B] bool
    reverse: bool,
) -> tuple[Any, Any]:
    """Any cell over time: `cell(params, state, x) -> state`, with steps that do not exist."""

    def step(state, inputs):
        x, exists_now, starts_now = inputs
        if starts_now is not None:
            state = select(starts_now, reset_state, state)
        new_state = cell(params, state, x)
        if exists_now is None:
            return new_state, new_state
        output = select(exists_now, new_state, jax.tree.map(jnp.zeros_like, new_state))
        return select(exists_now, new_state, state), output

    return jax.lax.scan(step, state0, (xs, exists, starts), reverse=reverse)


def select(condition: Array, if_true: Any, if_false: Any) -> Any:
    """`where` over pytrees of `[*condition.shape, ...]`."""
    return jax.tree.map(lambda a, b: jnp.where(match(condition, a), a, b), if_true, if_false)
