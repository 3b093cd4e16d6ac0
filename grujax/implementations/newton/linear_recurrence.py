"""Linear recurrences over time, all steps at once."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax


def solve_recurrence(factors: Array, terms: Array, *, reverse: bool = False) -> Array:
    """y with y_t = A_t·y_{t−1} + b_t, and zero before the first step; against time in `reverse`.

    Args:
        factors: A, `[T, B, H, H]`, or `[T, B, H]` where it is diagonal.
        terms: b, `[T, B, H]`.

    Returns:
        `[T, B, H]`. Two steps are one of the same kind, A₂·A₁ and A₂·b₁ + b₂, and joining them is
        associative: about 2·T joins, in 2·log₂ T rounds.
    """
    join = _join_dense if factors.ndim > terms.ndim else _join_diagonal
    return lax.associative_scan(join, (factors, terms), reverse=reverse)[1]


def _join_diagonal(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    (a1, b1), (a2, b2) = first, second
    return a2 * a1, a2 * b1 + b2


def _join_dense(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    (a1, b1), (a2, b2) = first, second
    return jnp.matmul(a2, a1), jnp.matmul(a2, b1[..., None])[..., 0] + b2


def carry_over(keeps: Array, start: Array) -> Callable[[Array], Array]:
    """What gives each unit, where it is kept, the state of the last step before.

    Args:
        keeps: `[T, B, H]` bool: where true, the state before the step takes the place of its own.
        start: `[B, H]`, the state before the first step.

    Returns:
        The function of states `[T, B, H]`. They are copied and not computed: no bit changes.
    """
    times = jnp.arange(1, len(keeps) + 1).reshape(-1, *(1,) * start.ndim)
    last_changed = lax.cummax(jnp.where(keeps, 0, times), axis=0)

    def carry(states: Array) -> Array:
        return jnp.take_along_axis(jnp.concatenate([start[None], states]), last_changed, axis=0)

    return carry
