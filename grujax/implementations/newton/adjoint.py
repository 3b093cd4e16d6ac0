"""The gradient of Newton's states; the equations stand in `grujax.implementations.newton.passes`."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.implementations.newton.linear_recurrence import solve_recurrence
from grujax.implementations.newton.states import tolerance
from grujax.implementations.newton.steps import (
    as_course,
    linear_factors,
    project_inputs,
    take_steps,
    turn,
)
from grujax.implementations.passes import Inputs, Kept
from grujax.implementations.types import Masks, match, where_exists
from grujax.params import GRUParams


def find_gradient(
    kept: Kept,
    d_last: Array,  # [B, H]
    d_hs: Array,  # [T, B, H]
    reverse: bool,
    method: str,
    max_iterations: int,
) -> tuple[Inputs, Array]:
    """The gradient with respect to the inputs, and whether it is exact."""
    course = as_course(kept.inputs, kept.masks, reverse)
    (params, xs, h0, _), masks = course
    hs, d_hs = turn((kept.hs, where_exists(kept.masks.exists, d_hs)), reverse)
    before = course.states_before(hs.astype(xs.dtype))
    d_hs, d_last = d_hs.astype(xs.dtype), d_last.astype(xs.dtype)
    d_direct = jnp.concatenate([d_hs[:-1], d_hs[-1:] + d_last])

    def take_all(params: GRUParams, xs: Array, before: Array):
        steps = take_steps(params, project_inputs(params, xs, masks), masks, before)
        return steps.after, steps

    _, pull_back, steps = jax.vjp(take_all, params, xs, before, has_aux=True)
    factors = _of_step_before(linear_factors(method, params, masks, steps), masks)
    if method == "dense":
        factors = factors.mT

    def missing(adjoints: Array) -> Array:
        _, _, d_before = pull_back(adjoints)
        return d_direct + _of_step_before(d_before, masks) - adjoints

    adjoints, is_exact = _solve(factors, d_direct, missing, max_iterations)
    d_params, d_xs, d_before = pull_back(adjoints)
    d_reset = jnp.zeros_like(h0)
    if masks.starts is not None:
        was_set = masks.starts[..., None]
        d_reset = jnp.where(was_set, d_before, 0).sum(0)
        d_before = jnp.where(was_set, 0, d_before)
    gradient = Inputs(d_params, turn(d_xs, reverse), d_before[0], d_reset)
    gradient = jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, kept.inputs)
    return gradient, is_exact


def _of_step_before(of_steps: Array, masks: Masks) -> Array:
    """`[T, B, ...]` with each step's entry at the step before, if its state comes from there."""
    if masks.starts is not None:
        of_steps = jnp.where(match(masks.starts, of_steps), 0, of_steps)
    return jnp.concatenate([of_steps[1:], jnp.zeros_like(of_steps[:1])])


def _solve(
    factors: Array, d_direct: Array, missing: Callable[[Array], Array], max_iterations: int
) -> tuple[Array, Array]:
    """The adjoints, `[T, B, H]`, and whether at every step nothing is missing but rounding."""
    limit = tolerance(d_direct)
    precision = jnp.finfo(d_direct.dtype)
    direct = jnp.abs(d_direct).max(-1)  # [T, B]
    least = precision.eps * direct.max(0) + precision.tiny / limit  # [B]

    def residual_of(adjoints: Array, rest: Array) -> Array:
        scale = jnp.maximum(jnp.abs(adjoints).max(-1) + direct, least)  # a step's own, [T, B]
        return jnp.max(jnp.abs(rest).max(-1) / scale, axis=0)

    def iterate(state):
        adjoints, rest, residual, iterations = state
        new = adjoints + solve_recurrence(factors, rest, reverse=True)
        adjoints = jnp.where((residual <= limit)[:, None], adjoints, new)
        rest = missing(adjoints)
        return adjoints, rest, residual_of(adjoints, rest), iterations + 1

    def goes_on(state) -> Array:
        _, _, residual, iterations = state
        unfinished = ~jnp.all(residual <= limit) & ~jnp.any(jnp.isnan(residual))
        return (iterations < max_iterations) & unfinished

    state = jnp.zeros_like(d_direct), d_direct, jnp.full_like(direct[0], jnp.inf), 0
    adjoints, _, residual, _ = lax.while_loop(goes_on, iterate, state)
    return adjoints, jnp.all(residual <= limit)
