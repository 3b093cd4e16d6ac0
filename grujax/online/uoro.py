"""Unbiased online recurrent optimization (UORO): a random influence of rank one.

In the notation of `grujax.online.rtrl` it carries two vectors, s̃ [S] and θ̃ [P], with E[s̃·θ̃ᵀ] = M.
With independent random signs ν [S] at every step, and the scales

    ρ₀ = √(‖θ̃‖ / ‖A·s̃‖),     ρ₁ = √(‖νᵀD‖ / ‖ν‖),

which keep the two vectors of each term equally long, a step is

    s̃' = ρ₀·A·s̃ + ρ₁·ν,     θ̃' = θ̃ / ρ₀ + νᵀD / ρ₁.

E[ν·νᵀ] is the identity, so E[s̃'·θ̃'ᵀ] = A·E[s̃·θ̃ᵀ] + D: the cross terms have mean zero.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax import meshes
from grujax.checks import check_callable, check_key
from grujax.online.method import Carry, Method, check_start, step_rows, sum_rows
from grujax.online.rows import Cell, Rows, RowStep, layout_of, rows_of


class RankOne(NamedTuple):
    """An influence of rank one, the outer product of two vectors."""

    of_state: Array  # [B, S]
    of_params: Array  # [B, P]


def uoro(cell: Cell) -> Method:
    """Unbiased online recurrent optimization: a rank-one influence, right on average.

    `Method.init` needs a `key`; the rows of a batch draw independently of each other.

    Memory: S + P numbers per row, for S numbers in the state of a row and P parameters. Operations
    per row and step: those of one forward-mode and one reverse-mode pass through the step.

    The variance is the price. For an immediate influence D `[S, P]` the noise of one draw has
    E‖ν·νᵀD − D‖² = (S − 1)·‖D‖², and all pairs of different steps add cross terms. So the standard
    deviation of a gradient, relative to the gradient, grows with S and with the number of steps
    that the cell remembers. The error of a mean over N rows or runs shrinks as 1 / √N.

    Args:
        cell: `cell(params, state, x) -> state`, as in `grujax.scan_cell`, with a state of arrays
            `[B, n]`.

    Returns:
        The `Method`. Its gradient is unbiased.

    Raises:
        ValueError: if `cell` is no function; from its functions if there is no key, or a shape or
            dtype does not fit.

    Example:
        >>> import grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=4)
        >>> method = uoro(grujax.gru_cell)
        >>> carry = method.init(params, jnp.zeros((2, 4)), key=jax.random.key(1))
        >>> carry.influence.of_state.shape, carry.influence.of_params.shape
        ((2, 4), (2, 100))

    Reference:
        Tallec & Ollivier 2018, https://arxiv.org/abs/1702.05043
    """
    check_callable("cell", cell, "(params, state, x) -> state")

    def init(params: Any, state: Any, *, x: Any = None, key: Array | None = None) -> Carry:
        check_key("key", key)
        params, state, layout, rows = check_start(params, state)
        dtype = jnp.result_type(layout.dtype, rows.layout.dtype)
        sizes = rows.size, sum(layout.sizes)
        influence = RankOne(*(jnp.zeros((*rows.batch, size), dtype) for size in sizes))
        return Carry(state, influence, key, layout)

    def step(params: Any, carry: Carry, x: Any) -> tuple[Carry, Any]:
        rows = rows_of("state", carry.state)
        x = rows.check_inputs(x)
        key, draw = jax.random.split(check_key("carry.key", carry.key))
        draw = meshes.key_of_device(draw, (carry.state, x))
        signs = jax.random.rademacher(draw, (*rows.batch, rows.size), rows.layout.dtype)
        carry, state = step_rows(partial(_advance, cell), params, carry, x, signs)
        return replace(carry, key=key), state

    return Method(init, step, partial(sum_rows, _pull))


def _advance(
    cell: Cell, rows: Rows, params: Any, state: Any, influence: RankOne, x: Any, signs: Array
) -> tuple[Any, RankOne]:
    """One step of all rows."""
    step = rows.of_one(cell)
    before = jax.tree.map(lambda leaf: leaf.reshape(rows.number, leaf.shape[-1]), influence)
    signs = signs.reshape(rows.number, rows.size)
    of_rows = rows.join(state), rows.split_inputs(x), before, signs
    states, after = jax.vmap(partial(_step_of_row, step, params))(*of_rows)
    after = jax.tree.map(lambda leaf: leaf.reshape(*rows.batch, *leaf.shape[1:]), after)
    return rows.split(states), after


def _step_of_row(
    step: RowStep, params: Any, s: Array, x: Any, before: RankOne, signs: Array
) -> tuple[Array, RankOne]:
    tangent = before.of_state.astype(s.dtype)
    new_s, moved = jax.jvp(lambda s: step(params, s, x), (s,), (tangent,))
    _, pull = jax.vjp(lambda params: step(params, s, x), params)
    drawn = layout_of(params).join(pull(signs)[0], ())
    of_old = _balance(before.of_params, moved)
    of_new = _balance(drawn, signs)
    of_state = of_old * moved + of_new * signs
    of_params = before.of_params / of_old + drawn / of_new
    return new_s, RankOne(
        of_state.astype(before.of_state.dtype), of_params.astype(before.of_params.dtype)
    )


def _balance(of_params: Array, of_state: Array) -> Array:
    """√(‖of_params‖ / ‖of_state‖), and 1 where one of them is zero."""
    above, below = jnp.linalg.norm(of_params), jnp.linalg.norm(of_state)
    is_zero = (above == 0) | (below == 0)
    return jnp.where(is_zero, 1, jnp.sqrt(above / jnp.where(is_zero, 1, below)))


def _pull(d_states: Array, influence: RankOne) -> Array:
    """The gradient `[P]`: Σ over the rows of (d_state·s̃)·θ̃."""
    of_state = influence.of_state.reshape(d_states.shape)
    of_params = influence.of_params.reshape(len(d_states), influence.of_params.shape[-1])
    return (d_states * of_state).sum(1) @ of_params
