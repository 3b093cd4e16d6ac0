"""Real-time recurrent learning (RTRL): the exact influence, carried forward.

With the state s_t = f(s_{t−1}, x_t, θ), the influence M_t = ds_t/dθ obeys the chain rule

    M_t = A_t·M_{t−1} + D_t,     A_t = ∂s_t/∂s_{t−1} [S, S],     D_t = ∂s_t/∂θ [S, P],

and a loss Σ_t ℓ_t(s_t) has the gradient Σ_t ∂ℓ_t/∂s_t·M_t. D_t is the immediate influence: that of
this step's use of θ alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array

from grujax.cell import gru_cell
from grujax.checks import check_callable
from grujax.online.gru import advance_influence, take_step
from grujax.online.method import Carry, Method, check_start, step_rows, sum_rows
from grujax.online.rows import Cell, Rows, check_same_type, pull_back
from grujax.params import GRUParams


def rtrl(cell: Cell) -> Method:
    """Real-time recurrent learning: exact gradients, for any cell.

    It carries the influence ∂s/∂θ `[B, S, P]`, for S numbers in the state of a row and P
    parameters; in a GRU S = H and P = 3·H·(I + H) + 4·H. Per row that takes:

                                   any cell    GRU, H ≫ I
        memory, numbers            S·P         3·H³
        multiply-adds per step     S²·P        3·H⁴

    Neither depends on the number of steps. `grujax.gru_cell` runs in closed form, which is faster
    and has the same results.

    Args:
        cell: `cell(params, state, x) -> state`, as in `grujax.scan_cell`, with a state of arrays
            `[B, n]`.

    Returns:
        The `Method`.

    Raises:
        ValueError: if `cell` is no function; from its functions if a shape or dtype does not fit.

    Example:
        >>> import grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=4)
        >>> method = rtrl(grujax.gru_cell)
        >>> carry = method.init(params, jnp.zeros((2, 4)))
        >>> carry, h = method.step(params, carry, jnp.ones((2, 3)))
        >>> method.gradient(carry, d_state=h).w_h.shape
        (3, 4, 4)

    Reference:
        Williams & Zipser 1989, https://doi.org/10.1162/neco.1989.1.2.270
    """
    check_callable("cell", cell, "(params, state, x) -> state")

    def init(params: Any, state: Any, *, x: Any = None, key: Array | None = None) -> Carry:
        params, state, layout, rows = check_start(params, state)
        dtype = jnp.result_type(layout.dtype, rows.layout.dtype)
        influence = jnp.zeros((*rows.batch, rows.size, sum(layout.sizes)), dtype)
        return Carry(state, influence, None, layout)

    advance = _advance_gru if cell is gru_cell else partial(_advance_any, cell)
    return Method(init, partial(step_rows, advance), partial(sum_rows, _pull))


def _advance_any(
    cell: Cell, rows: Rows, params: Any, state: Any, influence: Array, x: Any
) -> tuple[Any, Array]:
    """By reverse mode through one step, once for each number in the state."""
    xs, identity = rows.split_inputs(x), jnp.eye(rows.size)
    after = pull_back(rows.of_one(cell), params, rows.join(state), xs, identity)
    kept = after.of_states @ influence.reshape(after.of_params.shape)
    return rows.split(after.states), (kept + after.of_params).reshape(influence.shape)


def _advance_gru(
    rows: Rows, params: GRUParams, state: Any, influence: Array, x: Any
) -> tuple[Any, Array]:
    """By the closed form of a GRU."""
    steps = take_step(params, state, x)
    check_same_type(state, steps.after)
    return steps.after, advance_influence(params, steps, x, influence)


def _pull(d_states: Array, influence: Array) -> Array:
    """The gradient `[P]` of an influence `[B, S, P]`."""
    d_states = d_states.reshape(-1).astype(influence.dtype)
    return d_states @ influence.reshape(d_states.size, influence.shape[-1])
