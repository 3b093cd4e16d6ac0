"""Methods that carry a part of the influence, in the slots of a `Pattern`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.checks import array_leaves
from grujax.online.method import Carry, Method, check_start, step_rows, sum_rows
from grujax.online.pattern import Pattern, find_pattern
from grujax.online.rows import Cell, Rows, RowStep, pull_back


def sparse_method(cell: Cell, cut: Callable[[RowStep], RowStep], order: int | None) -> Method:
    """The method that carries what the parameters reach within some steps.

    Args:
        cell: `cell(params, state, x) -> state`.
        cut: makes of the step of one row that through which the influence is carried on.
        order: the number of steps; None for all steps to come.
    """

    def init(params: Any, state: Any, *, x: Any = None, key: Array | None = None) -> Carry:
        params, state, layout, rows = check_start(params, state)
        step = rows.of_one(cell)
        row = _input_of_row(params, x, rows, layout.dtype)
        pattern = find_pattern(step, cut(step), layout, rows.layout, row, order)
        dtype = jnp.result_type(layout.dtype, rows.layout.dtype)
        influence = jnp.zeros((*rows.batch, *pattern.used.shape), dtype)
        return Carry(state, influence, None, layout, pattern)

    def step(params: Any, carry: Carry, x: Any) -> tuple[Carry, Any]:
        pattern = _pattern(carry)

        def advance(
            rows: Rows, params: Any, state: Any, influence: Array, x: Any
        ) -> tuple[Any, Array]:
            one, xs, states = rows.of_one(cell), rows.split_inputs(x), rows.join(state)
            covectors = jnp.asarray(pattern.covectors, influence.dtype)
            after = pull_back(one, params, states, xs, covectors)
            jacobians = pull_back(cut(one), params, states, xs, jnp.eye(rows.size)).of_states
            kept = pattern.move(jacobians, influence.reshape(after.of_params.shape))
            return rows.split(after.states), (kept + after.of_params).reshape(influence.shape)

        return step_rows(advance, params, carry, x)

    def gradient(carry: Carry, d_state: Any) -> Any:
        pattern = _pattern(carry)

        def pull(d_states: Array, influence: Array) -> Array:
            influence = influence.reshape(-1, *pattern.used.shape)
            return pattern.pull(d_states.astype(influence.dtype), influence)

        return sum_rows(pull, carry, d_state)

    return Method(init, step, gradient)


def _pattern(carry: Carry) -> Pattern:
    if carry.pattern is None:
        raise ValueError("`carry` must be one of this method, got one without a pattern.")
    return carry.pattern


def _input_of_row(params: Any, x: Any, rows: Rows, dtype: Any) -> Any:
    """Shapes and dtypes of the inputs of one row."""
    if x is None:
        size = getattr(params, "input_size", None)
        if not isinstance(size, int):
            raise ValueError(
                "`x`, an example of the inputs, must be given, because only the cells of grujax "
                "tell its shape, by `params.input_size`."
            )
        x = jnp.zeros((*rows.batch, size), dtype)
    for leaf in array_leaves("x", x):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"`x` must be floating, got {leaf.dtype}: the pattern is found from random inputs. "
                "Embed integers before the cell."
            )
    axes = len(rows.batch)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[axes:], leaf.dtype), x)
