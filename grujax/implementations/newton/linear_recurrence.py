"""Linear recurrences over time, all steps at once."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax


def solve_recurrence(factors: Array, terms: Array, *, reverse: bool = False) -> Array:
    """y with y_t = A_t·y_{t−1} + b_t, zero before the first step; from T − 1 down if `reverse`.

    Args:
        factors: A, `[T, B, H, H]`, or `[T, B, H]` where it is diagonal.
        terms: b, `[T, B, H]`.

    Returns:
        `[T, B, H]`. Two steps compose to one step with A₂·A₁ and A₂·b₁ + b₂. Composition is
        associative: an associative scan takes about 2·T compositions in 2·log₂ T rounds.
    """
    compose = _compose_dense if factors.ndim > terms.ndim else _compose_diagonal
    return lax.associative_scan(compose, (factors, terms), reverse=reverse)[1]


def _compose_diagonal(
    first: tuple[Array, Array], second: tuple[Array, Array]
) -> tuple[Array, Array]:
    (a1, b1), (a2, b2) = first, second
    return a2 * a1, a2 * b1 + b2


def _compose_dense(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    (a1, b1), (a2, b2) = first, second
    return jnp.matmul(a2, a1), jnp.matmul(a2, b1[..., None])[..., 0] + b2


def make_carry_fn(kept: Array, start: Array) -> Callable[[Array], Array]:
    """A function that gives each kept unit the state of the last step that did not keep it.

    Args:
        kept: `[T, B, H or 1]` bool: where true, the unit keeps the state before the step.
        start: `[B, H]`, the state before the first step.

    Returns:
        A function of states `[T, B, H]`. It copies states bit for bit and computes nothing.
    """
    times = jnp.arange(1, len(kept) + 1).reshape(-1, *(1,) * start.ndim)
    last_changed = lax.cummax(jnp.where(kept, 0, times), axis=0)

    def carry(states: Array) -> Array:
        return jnp.take_along_axis(jnp.concatenate([start[None], states]), last_changed, axis=0)

    return carry
