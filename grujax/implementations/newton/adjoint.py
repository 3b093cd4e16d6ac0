"""The gradient of Newton's states; see `grujax.implementations.newton.rules` for the equations."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.implementations.gates import project_steps
from grujax.implementations.newton.linear_recurrence import solve_recurrence
from grujax.implementations.newton.states import tolerance
from grujax.implementations.newton.steps import flip_time, in_order, linear_factors, take_steps
from grujax.implementations.types import (
    Primals,
    Residuals,
    StepMasks,
    expand_like,
    states_before,
    zero_invalid,
)
from grujax.params import GRUParams


def find_gradient(
    residuals: Residuals,
    d_last: Array,  # [B, H]
    d_hs: Array,  # [T, B, H]
    method: str,
    max_iterations: int,
) -> tuple[Primals, Array]:
    """The gradient of the primals, and whether it is exact up to rounding."""
    reverse = residuals.args.reverse
    args = in_order(residuals.args)
    masks, dtype = args.masks, args.xs.dtype
    d_hs = zero_invalid(residuals.args.masks.valid, d_hs)
    hs, d_hs = flip_time((residuals.hs, d_hs), reverse)
    before = states_before(hs.astype(dtype), args.h0, args.reset_state, masks.restart, False)
    d_hs, d_last = d_hs.astype(dtype), d_last.astype(dtype)
    d_direct = jnp.concatenate([d_hs[:-1], d_hs[-1:] + d_last])

    def take_all(params: GRUParams, xs: Array, before: Array):
        projected = project_steps(args.replace(params=params, xs=xs))
        steps = take_steps(params, projected, masks, before)
        return steps.after, steps

    _, pull_back, steps = jax.vjp(take_all, args.params, args.xs, before, has_aux=True)
    factors = _shift_to_step_before(linear_factors(method, args.params, masks, steps), masks)
    if method == "dense":
        factors = factors.mT

    def defect(adjoints: Array) -> Array:
        _, _, d_before = pull_back(adjoints)
        return d_direct + _shift_to_step_before(d_before, masks) - adjoints

    adjoints, is_exact = _solve(factors, d_direct, defect, max_iterations)
    d_params, d_xs, d_before = pull_back(adjoints)
    d_reset = jnp.zeros_like(args.h0)
    if masks.restart is not None:
        was_set = masks.restart[..., None]
        d_reset = jnp.where(was_set, d_before, 0).sum(0)
        d_before = jnp.where(was_set, 0, d_before)
    gradient = Primals(d_params, flip_time(d_xs, reverse), d_before[0], d_reset)
    primals = residuals.args.primals
    return jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, primals), is_exact


def _shift_to_step_before(of_steps: Array, masks: StepMasks) -> Array:
    """`[T, B, ...]` moved one step back in time, zero where the state does not come from there."""
    if masks.restart is not None:
        of_steps = jnp.where(expand_like(masks.restart, of_steps), 0, of_steps)
    return jnp.concatenate([of_steps[1:], jnp.zeros_like(of_steps[:1])])


def _solve(
    factors: Array, d_direct: Array, defect: Callable[[Array], Array], max_iterations: int
) -> tuple[Array, Array]:
    """The adjoints, `[T, B, H]`, and whether their defect is rounding alone at every step."""
    limit = tolerance(d_direct)
    precision = jnp.finfo(d_direct.dtype)
    direct = jnp.abs(d_direct).max(-1)  # [T, B]
    least = precision.eps * direct.max(0) + precision.tiny / limit  # [B]

    def residual_of(adjoints: Array, rest: Array) -> Array:
        scale = jnp.maximum(jnp.abs(adjoints).max(-1) + direct, least)  # per step, [T, B]
        return jnp.max(jnp.abs(rest).max(-1) / scale, axis=0)

    def iterate(state):
        adjoints, rest, residual, iterations = state
        new = adjoints + solve_recurrence(factors, rest, reverse=True)
        adjoints = jnp.where((residual <= limit)[:, None], adjoints, new)
        rest = defect(adjoints)
        return adjoints, rest, residual_of(adjoints, rest), iterations + 1

    def is_unfinished(state) -> Array:
        _, _, residual, iterations = state
        has_not_converged = ~jnp.all(residual <= limit) & ~jnp.any(jnp.isnan(residual))
        return (iterations < max_iterations) & has_not_converged

    state = jnp.zeros_like(d_direct), d_direct, jnp.full_like(direct[0], jnp.inf), 0
    adjoints, _, residual, _ = lax.while_loop(is_unfinished, iterate, state)
    return adjoints, jnp.all(residual <= limit)
