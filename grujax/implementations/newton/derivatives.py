"""The derivatives of Newton's states; `grujax.implementations.newton.rules` has the equations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.implementations.gates import project_steps
from grujax.implementations.newton.linear_recurrence import solve_recurrence
from grujax.implementations.newton.states import tolerance
from grujax.implementations.newton.steps import (
    Steps,
    flip_time,
    in_order,
    linear_factors,
    take_steps,
)
from grujax.implementations.types import (
    Primals,
    RecurrenceArgs,
    Residuals,
    StepMasks,
    expand_like,
    states_before,
    zero_invalid,
)
from grujax.params import GRUParams


def find_tangent(
    residuals: Residuals, tangents: Primals, method: str, max_iterations: int
) -> tuple[tuple[Array, Array], Array]:
    """The tangents of `h_last` and `hs`, and whether they are exact up to rounding.

    A tangent that is None is zero.
    """
    reverse, valid = residuals.args.reverse, residuals.args.masks.valid
    args, before = _ordered_steps(residuals)
    masks, dtype = args.masks, args.xs.dtype
    primals = (args.params, args.xs, before)
    d_before = _tangent_of_given_states(args, tangents, before)
    d_xs = flip_time(tangents.xs, reverse)
    leaves, tree = jax.tree.flatten(primals)
    d_leaves = jax.tree.leaves((tangents.params, d_xs, d_before), is_leaf=lambda d: d is None)
    changes = {i: d.astype(dtype) for i, d in enumerate(d_leaves) if d is not None}

    def take_changed(*changed: Array) -> tuple[Array, Steps]:
        given = {**dict(enumerate(leaves)), **dict(zip(changes, changed, strict=True))}
        return _take_all(args, *jax.tree.unflatten(tree, given.values()))

    changed = tuple(leaves[index] for index in changes)
    _, direct, steps = jax.jvp(take_changed, changed, tuple(changes.values()), has_aux=True)
    _, push = jax.linearize(lambda before: _take_all(args, args.params, args.xs, before)[0], before)

    def defect(found: Array) -> Array:
        return direct + push(_shift_to_step_after(found, masks)) - found

    factors = linear_factors(method, args.params, masks, steps)
    if masks.restart is not None:
        factors = jnp.where(expand_like(masks.restart, factors), 0, factors)
    found, is_exact = _solve(factors, direct, defect, max_iterations, reverse=False)
    d_hs = zero_invalid(valid, flip_time(found, reverse))
    return (found[-1].astype(residuals.hs.dtype), d_hs.astype(residuals.hs.dtype)), is_exact


def find_gradient(
    residuals: Residuals,
    d_last: Array,  # [B, H]
    d_hs: Array,  # [T, B, H]
    method: str,
    max_iterations: int,
) -> tuple[Primals, Array]:
    """The gradient of the primals, and whether it is exact up to rounding."""
    reverse = residuals.args.reverse
    args, before = _ordered_steps(residuals)
    masks, dtype = args.masks, args.xs.dtype
    d_hs = flip_time(zero_invalid(residuals.args.masks.valid, d_hs), reverse)
    d_hs, d_last = d_hs.astype(dtype), d_last.astype(dtype)
    d_direct = jnp.concatenate([d_hs[:-1], d_hs[-1:] + d_last[None]])
    _, pull_back, steps = jax.vjp(
        partial(_take_all, args), args.params, args.xs, before, has_aux=True
    )
    factors = _shift_to_step_before(linear_factors(method, args.params, masks, steps), masks)
    if method == "dense":
        factors = factors.mT

    def defect(adjoints: Array) -> Array:
        _, _, d_before = pull_back(adjoints)
        return d_direct + _shift_to_step_before(d_before, masks) - adjoints

    adjoints, is_exact = _solve(factors, d_direct, defect, max_iterations, reverse=True)
    d_params, d_xs, d_before = pull_back(adjoints)
    d_reset = jnp.zeros_like(args.h0)
    if masks.restart is not None:
        was_set = masks.restart[..., None]
        d_reset = jnp.where(was_set, d_before, 0).sum(0)
        d_before = jnp.where(was_set, 0, d_before)
    gradient = Primals(d_params, flip_time(d_xs, reverse), d_before[0], d_reset)
    primals = residuals.args.primals
    return jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, primals), is_exact


def _ordered_steps(residuals: Residuals) -> tuple[RecurrenceArgs, Array]:
    """The recurrence running from 0 to T − 1, and the states before its steps, `[T, B, H]`."""
    args = in_order(residuals.args)
    hs = flip_time(residuals.hs, residuals.args.reverse).astype(args.xs.dtype)
    restart = args.masks.restart
    return args, states_before(hs, args.h0, args.reset_state, restart, False)


def _take_all(
    args: RecurrenceArgs, params: GRUParams, xs: Array, before: Array
) -> tuple[Array, Steps]:
    """The states after the steps from the states `before`, and these steps."""
    projected = project_steps(args.replace(params=params, xs=xs))
    steps = take_steps(params, projected, args.masks, before)
    return steps.after, steps


def _tangent_of_given_states(
    args: RecurrenceArgs, tangents: Primals, before: Array
) -> Array | None:
    """`[T, B, H]`: of the states before the steps, those of `h0` and `reset_state`; None: zero."""
    if tangents.h0 is None and tangents.reset_state is None:
        return None
    d_h0, d_reset = (
        jnp.zeros_like(args.h0) if d is None else d.astype(args.h0.dtype)
        for d in (tangents.h0, tangents.reset_state)
    )
    return states_before(jnp.zeros_like(before), d_h0, d_reset, args.masks.restart, False)


def _shift_to_step_before(of_steps: Array, masks: StepMasks) -> Array:
    """`[T, B, ...]` moved one step back in time, zero where the state does not come from there."""
    if masks.restart is not None:
        of_steps = jnp.where(expand_like(masks.restart, of_steps), 0, of_steps)
    return jnp.concatenate([of_steps[1:], jnp.zeros_like(of_steps[:1])])


def _shift_to_step_after(of_steps: Array, masks: StepMasks) -> Array:
    """`[T, B, H]` moved one step on in time, zero where the state does not come from there."""
    zeros = jnp.zeros_like(of_steps[0])
    return states_before(of_steps, zeros, zeros, masks.restart, False)


def _solve(
    factors: Array,
    d_direct: Array,
    defect: Callable[[Array], Array],
    max_iterations: int,
    *,
    reverse: bool,
) -> tuple[Array, Array]:
    """The solution, `[T, B, H]`, and whether its defect is rounding alone at every step."""
    limit = tolerance(d_direct)
    precision = jnp.finfo(d_direct.dtype)
    direct = jnp.abs(d_direct).max(-1)  # [T, B]
    least = precision.eps * direct.max(0) + precision.tiny / limit  # [B]

    def residual_of(solution: Array, rest: Array) -> Array:
        scale = jnp.maximum(jnp.abs(solution).max(-1) + direct, least[None])  # per step, [T, B]
        return jnp.max(jnp.abs(rest).max(-1) / scale, axis=0)

    def iterate(state):
        solution, rest, residual, iterations = state
        new = solution + solve_recurrence(factors, rest, reverse=reverse)
        solution = jnp.where((residual <= limit)[None, :, None], solution, new)
        rest = defect(solution)
        return solution, rest, residual_of(solution, rest), iterations + 1

    def is_unfinished(state) -> Array:
        _, _, residual, iterations = state
        has_not_converged = ~jnp.all(residual <= limit) & ~jnp.any(jnp.isnan(residual))
        return (iterations < max_iterations) & has_not_converged

    state = jnp.zeros_like(d_direct), d_direct, jnp.full_like(direct[0], precision.max), 0
    solution, _, residual, _ = lax.while_loop(is_unfinished, iterate, state)
    return solution, jnp.all(residual <= limit)
