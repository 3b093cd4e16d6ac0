"""Newton's iteration for the states; see `grujax.implementations.newton.rules` for the method."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from grujax.implementations.gates import project_steps
from grujax.implementations.newton.linear_recurrence import make_carry_fn, solve_recurrence
from grujax.implementations.newton.steps import Steps, linear_factors, take_steps
from grujax.implementations.types import RecurrenceArgs, expand_like, states_before

LEAST_SCALE = 0.5  # of the Jacobians, when damped


class NewtonResult(NamedTuple):
    """The states that the iteration has reached."""

    hs: Array  # [T, B, H], in the order of the recurrence; invalid steps carry the state
    residual: Array  # [B], the largest of a row, relative to max(1, |h₀|)
    iterations: Array  # []

    def converged(self) -> Array:
        """`[B]` bool: whether the states solve the recurrence up to rounding."""
        return self.residual <= tolerance(self.hs)


class _State(NamedTuple):
    """The state of the iteration."""

    result: NewtonResult
    steps: Steps  # from the states of the result
    jacobian_scale: Array  # [B]: 1 is undamped


def tolerance(states: Array) -> float:
    """c·ε, the largest residual of a converged row. A product with Wh adds up to √H roundings."""
    return max(8, states.shape[-1] ** 0.5) * float(jnp.finfo(states.dtype).eps)


def find_states(args: RecurrenceArgs, method: str, max_iterations: int) -> NewtonResult:
    """The states of a recurrence that runs from 0 to T − 1, see `steps.in_order`."""
    params, masks, h0, reset_state = args.params, args.masks, args.h0, args.reset_state
    projected = project_steps(args)
    bound = jnp.maximum(1, jnp.maximum(jnp.abs(h0), jnp.abs(reset_state)))  # on |h|, [B, H]
    copy_kept_units = _make_copy_fn(args)

    def steps_from(hs: Array) -> tuple[Steps, Array]:
        """The steps from `hs [T, B, H]`, and the residual of each row."""
        before = states_before(hs, h0, reset_state, masks.restart, reverse=False)
        steps = take_steps(params, projected, masks, before)
        return steps, jnp.max(jnp.abs(steps.after - hs) / bound[None], axis=(0, 2))

    def update(hs: Array, steps: Steps, factors: Array) -> Array:
        if masks.restart is not None:
            factors = jnp.where(expand_like(masks.restart, factors), 0, factors)
        defect = steps.after - hs
        change = solve_recurrence(factors, defect)
        change = jnp.where(jnp.isfinite(change), change, defect)  # products may overflow
        return copy_kept_units(jnp.clip(hs + change, -bound[None], bound[None]))

    def iterate(state: _State) -> _State:
        result, steps, scale = state
        factors = linear_factors(method, params, masks, steps, gates_fixed=result.iterations == 0)
        hs = update(result.hs, steps, expand_like(scale[None], factors) * factors)
        hs = jnp.where(result.converged()[None, :, None], result.hs, hs)
        steps, residual = steps_from(hs)
        recovered = jnp.minimum(1, 1.4 * scale)
        scale = jnp.where(residual > result.residual, LEAST_SCALE, recovered)
        return _State(NewtonResult(hs, residual, result.iterations + 1), steps, scale)

    def is_unfinished(state: _State) -> Array:
        result = state.result
        is_hopeless = jnp.any(~jnp.isfinite(result.residual))
        return (result.iterations < max_iterations) & ~jnp.all(result.converged()) & ~is_hopeless

    hs = jnp.broadcast_to(h0, (*args.xs.shape[:2], h0.shape[-1]))
    steps, residual = steps_from(hs)
    result = NewtonResult(hs, residual, jnp.zeros_like(residual, jnp.int32, shape=()))
    start = _State(result, steps, jnp.ones_like(h0[:, 0]))
    return lax.while_loop(is_unfinished, iterate, start).result


def _make_copy_fn(args: RecurrenceArgs) -> Callable[[Array], Array]:
    """The function of `hs [T, B, H]` that copies the states of kept units."""
    kept, restart = args.masks.kept, args.masks.restart
    if kept is None:
        return lambda hs: hs
    if restart is None:
        return make_carry_fn(kept, args.h0)
    carry = make_carry_fn(kept & ~restart[..., None], args.h0)
    was_set = kept & restart[..., None]
    return lambda hs: carry(jnp.where(was_set, args.reset_state[None], hs))
