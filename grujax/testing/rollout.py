"""A rollout to replay: random inputs and ends of episodes, and the states that acting stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.jax_support.pytrees import register
from grujax.rollouts import resets_from_dones

Step = Callable[[Any, Any, Array], tuple[Any, Any]]
WARM_UP = 8  # steps before the rollout, so that it starts from a state in use


@register
class Rollout(NamedTuple):
    """What an actor stores while it acts for T steps in B environments.

    Attributes:
        xs: `[T, B, ...]`, the inputs; a pytree, as the actor's.
        resets: `[T, B]` bool, whether an episode starts at step t: reset the state *before* it.
        terminations: `[T, B]` bool, whether the episode terminated *after* step t.
        truncations: `[T, B]` bool, whether a time limit cut the episode *after* step t.
        states: `[T, B, ...]`, the state that the actor holds before step t, and before its reset; a
            pytree.
    """

    xs: Any
    resets: Array  #: [T, B] bool
    terminations: Array  #: [T, B] bool
    truncations: Array  #: [T, B] bool
    states: Any

    @property
    def dones(self) -> Array:
        """`[T, B]` bool, whether the episode ended after step t, for either reason."""
        return self.terminations | self.truncations

    @property
    def first_state(self) -> Any:
        """The pytree `[B, ...]` of the state before step 0."""
        return jax.tree.map(lambda leaf: leaf[0], self.states)


def run_steps(
    step: Step, start: Any, xs: Any, resets: Array, to_start: ArrayLike = False
) -> tuple[Any, Any, Any]:
    """Runs `step` over time: `(last state, states before the steps [T, ...], outputs [T, ...])`.

    If `to_start` is true, resets go back to `start` instead of where `step` resets to.
    """

    def body(state: Any, inputs: tuple[Any, Array]) -> tuple[Any, tuple[Any, Any]]:
        x, reset = inputs
        seen = select_rows(reset & to_start, start, state)
        after, y = step(x, seen, reset & ~jnp.asarray(to_start))
        after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)
        return after, (state, y)

    last, (states, ys) = jax.lax.scan(body, start, (xs, resets))
    return last, states, ys


def select_rows(rows: Array, chosen: Any, others: Any) -> Any:
    """Of two pytrees `[B, ...]`, the rows of the first where `rows [B]` is true."""

    def select(one: Array, other: Array) -> Array:
        return jnp.where(rows.reshape(-1, *(1,) * (one.ndim - 1)), one, other)

    return jax.tree.map(select, chosen, others)


def draw_rollout(
    step: Step, initial_state: Any, x: Any, *, steps: int, key: Array
) -> tuple[Rollout, Any]:
    """A rollout in which every fault shows, and the outputs; at least four rows and steps."""
    key_x, key_end, key_kind = jax.random.split(key, 3)
    rows = jax.tree.leaves(initial_state)[0].shape[0]
    xs = draw_inputs(key_x, x, WARM_UP + steps)
    ends = jax.random.bernoulli(key_end, 0.2, (steps, rows))
    ends = ends.at[:, 0].set(False)  # one long episode, that of the rollout before
    ends = ends.at[steps // 3, 1:3].set(True)  # in the middle
    ends = ends.at[-2:, 3].set(True)  # an episode of one step, and an end at the end
    is_termination = jax.random.bernoulli(key_kind, 0.5, (steps, rows))
    is_termination = is_termination.at[:, 1].set(True).at[:, 2].set(False)
    terminations, truncations = ends & is_termination, ends & ~is_termination
    first = (jnp.arange(rows) % 2).astype(bool)
    resets = resets_from_dones(ends, first)
    all_resets = jnp.concatenate([jnp.zeros((WARM_UP, rows), bool), resets])
    _, states, ys = run_steps(step, initial_state, xs, all_resets)
    xs, states, ys = jax.tree.map(lambda leaf: leaf[WARM_UP:], (xs, states, ys))
    return Rollout(xs, resets, terminations, truncations, states), ys


def draw_inputs(key: Array, x: Any, steps: int) -> Any:
    """Inputs `[steps, B, ...]` with the shapes and dtypes of the example `x [B, ...]`."""

    def draw(key: Array, leaf: Array) -> Array:
        shape = (steps, *leaf.shape)
        if leaf.dtype == jnp.bool_:
            return jax.random.bernoulli(key, 0.5, shape)
        if jnp.issubdtype(leaf.dtype, jnp.integer):  # actions and tokens have a range
            return jax.random.randint(key, shape, leaf.min(), leaf.max() + 1, leaf.dtype)
        return jax.random.normal(key, shape, jnp.float32).astype(leaf.dtype)

    leaves, structure = jax.tree.flatten(x)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, [draw(*pair) for pair in zip(keys, leaves, strict=True)])
