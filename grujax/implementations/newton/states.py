"""Newton's iteration for the states; the method stands in `grujax.implementations.newton.passes`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from grujax.implementations.newton.linear_recurrence import carry_over, solve_recurrence
from grujax.implementations.newton.steps import (
    Course,
    Steps,
    linear_factors,
    project_inputs,
    take_steps,
)
from grujax.implementations.types import match

LEAST_WEIGHT = 0.5  # of the Jacobians, damped


class Found(NamedTuple):
    """The states that the iteration has come to, and whether they are the solution."""

    hs: Array  # [T, B, H], in the order of the walk; steps that do not exist carry the state
    residual: Array  # [B], the largest of a row, relative to max(1, |h₀|)
    iterations: Array  # []

    def converged(self) -> Array:
        """`[B]` bool."""
        return self.residual <= tolerance(self.hs)


class _State(NamedTuple):
    """What an iteration leaves to the next."""

    found: Found
    steps: Steps  # from the states found
    weight: Array  # [B], of the Jacobians


def tolerance(states: Array) -> float:
    """c·ε: the largest residual of a converged row. A product with Wh rounds √H terms' worth."""
    return max(8, states.shape[-1] ** 0.5) * float(jnp.finfo(states.dtype).eps)


def find_states(course: Course, method: str, max_iterations: int) -> Found:
    (params, xs, h0, reset_state), masks = course
    projected = project_inputs(params, xs, masks)
    bound = jnp.maximum(1, jnp.maximum(jnp.abs(h0), jnp.abs(reset_state)))  # on |h|, [B, H]
    keep = _keep(course)

    def take_from(hs: Array) -> tuple[Steps, Array]:
        """The steps, and each row's residual."""
        steps = take_steps(params, projected, masks, course.states_before(hs))
        return steps, jnp.max(jnp.abs(steps.after - hs) / bound, axis=(0, 2))

    def update(hs: Array, steps: Steps, factors: Array) -> Array:
        if masks.starts is not None:
            factors = jnp.where(match(masks.starts, factors), 0, factors)
        missing = steps.after - hs
        change = solve_recurrence(factors, missing)
        change = jnp.where(jnp.isfinite(change), change, missing)  # products may overflow
        return keep(jnp.clip(hs + change, -bound, bound))

    def iterate(state: _State) -> _State:
        found, steps, weight = state
        factors = linear_factors(method, params, masks, steps, gates_fixed=found.iterations == 0)
        hs = update(found.hs, steps, match(weight, factors[0]) * factors)
        hs = jnp.where(found.converged()[:, None], found.hs, hs)
        steps, residual = take_from(hs)
        recovered = jnp.minimum(1, 1.4 * weight)
        weight = jnp.where(residual > found.residual, LEAST_WEIGHT, recovered)
        return _State(Found(hs, residual, found.iterations + 1), steps, weight)

    def goes_on(state: _State) -> Array:
        found = state.found
        is_hopeless = jnp.any(~jnp.isfinite(found.residual))
        return (found.iterations < max_iterations) & ~jnp.all(found.converged()) & ~is_hopeless

    hs = jnp.broadcast_to(h0, (*xs.shape[:2], h0.shape[-1]))
    steps, residual = take_from(hs)
    found = Found(hs, residual, jnp.zeros((), jnp.int32))
    return lax.while_loop(goes_on, iterate, _State(found, steps, jnp.ones_like(h0[:, 0]))).found


def _keep(course: Course) -> Callable[[Array], Array]:
    """The function that copies the states of the units that zoneout keeps through `hs`."""
    (_, _, h0, reset_state), (_, starts, keeps, _, _) = course
    if keeps is None:
        return lambda hs: hs
    if starts is None:
        return carry_over(keeps, h0)
    carry, was_set = carry_over(keeps & ~starts[..., None], h0), keeps & starts[..., None]
    return lambda hs: carry(jnp.where(was_set, reset_state, hs))
