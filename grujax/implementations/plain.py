"""The readable reference: `lax.scan` over the cell, differentiated by JAX, in every mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.cell import gru_cell
from grujax.params import GRUParams


def run(
    params: GRUParams,
    xs: Array,  # [T, B, I]
    h0: Array,  # [B, H]
    exists: Array | None,  # [T, B] bool
    starts: Array | None,  # [T, B] bool
    reverse: bool,
) -> tuple[Array, Array]:
    return scan_masked(gru_cell, params, xs, h0, exists, starts, reverse)


def scan_masked(
    cell: Callable[[Any, Any, Any], Any],
    params: Any,
    xs: Any,  # a pytree of [T, B, ...]
    state0: Any,  # a pytree of [B, ...]
    exists: Array | None,  # [T, B] bool
    starts: Array | None,  # [T, B] bool
    reverse: bool,
) -> tuple[Any, Any]:
    """Any cell over time: `cell(params, state, x) -> state`, with steps that do not exist."""

    def step(state, inputs):
        x, exists_now, starts_now = inputs
        if starts_now is not None:
            state = select(starts_now, state0, state)
        new_state = cell(params, state, x)
        if exists_now is None:
            return new_state, new_state
        output = select(exists_now, new_state, jax.tree.map(jnp.zeros_like, new_state))
        return select(exists_now, new_state, state), output

    return jax.lax.scan(step, state0, (xs, exists, starts), reverse=reverse)


def select(condition: Array, if_true: Any, if_false: Any) -> Any:
    """`where` over pytrees of `[*condition.shape, ...]`."""

    def where(a: Array, b: Array) -> Array:
        trailing = (1,) * (a.ndim - condition.ndim)
        return jnp.where(condition.reshape(condition.shape + trailing), a, b)

    return jax.tree.map(where, if_true, if_false)
