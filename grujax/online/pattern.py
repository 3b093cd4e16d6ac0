"""Which units each parameter influences, and how to store such an influence without its zeros.

Two units share a slot if no parameter influences both. Then Q slots hold for each parameter the
influence on the units that it reaches, `[Q, P]` in place of `[S, P]`. One reverse pass through the
step gives a slot of the immediate influence: its covector is 1 for all units of the slot (Curtis,
Powell & Reid 1974). In a GRU each parameter first acts on one unit, so Q = 1; in an LSTM on the h
and the c of one unit, so Q = 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.jax_support.concrete import compute_now
from grujax.online.rows import Layout, RowStep, pull_back

DRAWS = 3  # random points: a derivative that is zero at all of them is taken as always zero


@dataclass(frozen=True, eq=False)
class Pattern:
    """The entries of an influence that may differ from zero. Compared by value, and hashed."""

    entries: np.ndarray  # [S, P] bool

    @cached_property
    def _value(self) -> tuple[Any, bytes]:
        return self.entries.shape, np.packbits(self.entries).tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    @cached_property
    def covectors(self) -> np.ndarray:
        """`[Q, S]` bool: the units of each slot."""
        numbers = self.entries.astype(np.float32)
        conflicts = numbers @ numbers.T > 0
        slots: list[int] = []
        for unit, conflict in enumerate(conflicts):
            taken = {slot for slot, shares in zip(slots, conflict, strict=False) if shares}
            slots.append(next(slot for slot in range(unit + 1) if slot not in taken))
        return np.arange(max(slots) + 1)[:, None] == np.array(slots)

    @cached_property
    def used(self) -> np.ndarray:
        """`[Q, P]` bool: whether a slot holds anything for a parameter."""
        return np.stack([self.entries[of_slot].any(0) for of_slot in self.covectors])

    @cached_property
    def units(self) -> np.ndarray:
        """`[Q, P]`: the unit that a slot holds for a parameter; where it holds none, any unit."""
        of_slots = [np.flatnonzero(of_slot) for of_slot in self.covectors]
        return np.stack([units[self.entries[units].argmax(0)] for units in of_slots])

    @property
    def is_dense(self) -> bool:
        """Whether every unit has its own slot."""
        return self.covectors.shape[0] == self.covectors.shape[1]

    def move(self, jacobians: Array, influence: Array) -> Array:
        """What a step keeps of an influence `[R, Q, P]`, for its Jacobians `[R, S, S]`."""
        if self.is_dense:
            moved = jacobians @ influence
        else:
            between = jacobians[:, self.units[:, None], self.units]  # [R, Q, Q, P]
            moved = (between * influence[:, None]).sum(2)
        return jnp.where(self.used, moved, 0)

    def pull(self, d_states: Array, influence: Array) -> Array:
        """The gradient `[P]`, the sum over rows, for `d_states [R, S]`."""
        if self.is_dense:
            return d_states.reshape(-1) @ influence.reshape(d_states.size, influence.shape[-1])
        return (d_states[:, self.units] * influence).sum((0, 1))


def find_pattern(
    step: RowStep, kept: RowStep, params: Layout, state: Layout, x: Any, order: int | None
) -> Pattern:
    """The entries that parameters reach within some steps, found at random points.

    Args:
        step: one step of one row, whose parameters act.
        kept: the step through which the influence is carried on.
        params: the layout of the parameters.
        state: the layout of the state of one row.
        x: the inputs of one row; only shapes and dtypes are read.
        order: the number of steps; None for all steps to come.
    """
    moves, pattern = _nonzero(step, kept, params, state, x)
    at_once, reached = pattern, 1
    while order is None or reached < order:
        later = at_once | ((moves.astype(np.float32) @ pattern.astype(np.float32)) > 0)
        if (later == pattern).all():
            break
        pattern, reached = later, reached + 1
    return Pattern(pattern)


def _nonzero(
    step: RowStep, kept: RowStep, params: Layout, state: Layout, x: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Where ∂s'/∂s `[S, S]` of `kept` and ∂s'/∂θ `[S, P]` of `step` are not zero."""
    size = sum(state.sizes)

    @jax.jit
    def jacobians(theta: Array, s: Array, x: Any) -> tuple[Array, Array]:
        xs = jax.tree.map(lambda leaf: leaf[None], x)
        values, identity = params.split(theta), jnp.eye(size)
        of_params = pull_back(step, values, s[None], xs, identity).of_params
        of_states = pull_back(kept, values, s[None], xs, identity).of_states
        return of_states[0] != 0, of_params[0] != 0

    moves, acts = np.zeros((size, size), bool), np.zeros((size, sum(params.sizes)), bool)
    with compute_now():
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)

            def draw(shape: tuple[int, ...], dtype: Any, rng: Any = rng) -> Array:
                return jnp.asarray(rng.normal(size=shape), dtype)

            point = draw((sum(params.sizes),), params.dtype), draw((size,), state.dtype)
            inputs = jax.tree.map(lambda leaf, draw=draw: draw(leaf.shape, leaf.dtype), x)
            of_states, of_params = jacobians(*point, inputs)
            moves, acts = moves | np.asarray(of_states), acts | np.asarray(of_params)
    return moves, acts
