"""Recurrent cells over time with the tricks of `experiments.memory.tricks` applied."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import grujax
from experiments.common.cells import CELLS
from experiments.memory.tricks import NORMALISED, SKIP, Trick, init_cell


class Recurrence(NamedTuple):
    """A cell with a trick applied."""

    init: Callable[[Array], Any]  # key -> params
    step: Callable[[Any, Any, Array], Any]  # (params, state, x [B, I]) -> state, at test
    initial_state: Callable[[int], Any]  # B -> zeros
    output: Callable[[Any], Array]  # state -> [B, H]
    run: Callable[..., Array]  # (params, xs [T, B, I], key, or None at test) -> outputs [T, B, H]


def make_recurrence(
    cell: str, trick: Trick, input_size: int, hidden_size: int, steps: int
) -> Recurrence:
    """Builds "rnn", "lstm" or "gru" with a trick, for sequences of T = `steps`."""
    plain = NORMALISED[cell] if trick.structure == "layer norm" else CELLS[cell].step
    step, noisy = _expected_zoneout(plain, trick.zoneout), _drawn_zoneout(plain)
    output = CELLS[cell].output

    def zeros(batch_size: int) -> Any:
        return CELLS[cell].initial_state((batch_size, hidden_size), jnp.float32)

    initial_state = zeros
    if trick.structure == "skip":
        step, noisy = _skipping(step), _skipping(noisy)
        initial_state, output = _skipping_states(zeros, output)

    def run(params: Any, xs: Array, key: Array | None) -> Array:
        if cell == "gru" and trick.structure == "plain":
            return grujax.gru(params, xs, zoneout=trick.zoneout, key=key)[1]
        state = initial_state(xs.shape[1])
        if key is None:
            return output(grujax.scan_cell(step, params, xs, state)[1])
        keeps = _draw_keeps(key, trick.zoneout, len(xs), zeros(xs.shape[1]))
        return output(grujax.scan_cell(noisy, params, (xs, keeps), state)[1])

    init = partial(init_cell, cell, trick, input_size, hidden_size, steps)
    return Recurrence(init, step, initial_state, output, run)


def _expected_zoneout(step: Callable, rate: float | Array) -> Callable:
    def expected(params: Any, state: Any, x: Array) -> Any:
        new = step(params, state, x)
        return jax.tree.map(lambda old, new: rate * old + (1 - rate) * new, state, new)

    return expected


def _drawn_zoneout(step: Callable) -> Callable:
    def noisy(params: Any, state: Any, x_and_keep: tuple[Array, Any]) -> Any:
        x, keep = x_and_keep
        return jax.tree.map(jnp.where, keep, state, step(params, state, x))

    return noisy


def _draw_keeps(key: Array, rate: float | Array, steps: int, state: Any) -> Any:
    """Which units keep their state at each step: bool `[T, B, H]` for each array of the state."""

    def draw(key: Array) -> Any:
        leaves, structure = jax.tree.flatten(state)
        keys = jax.random.split(key, len(leaves))
        drawn = [
            jax.random.bernoulli(key, rate, (steps, *leaf.shape))
            for key, leaf in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, drawn)

    def none(key: Array) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros((steps, *leaf.shape), bool), state)

    return jax.lax.cond(jnp.asarray(rate) > 0, draw, none, key)


class Delayed(NamedTuple):
    """A state, and where its skipping half was at the SKIP − 1 steps before, the oldest first."""

    state: Any
    past: Any  # each [B, SKIP − 1, H/2]


def _skipping(step: Callable) -> Callable:
    def skipping(params: Any, delayed: Delayed, x: Any) -> Delayed:
        state, past = delayed

        def enqueue(past: Array, now: Array) -> Array:
            return jnp.concatenate([past, now[:, None, : past.shape[-1]]], axis=1)

        def go_on_from(queue: Array, now: Array) -> Array:
            return jnp.concatenate([queue[:, 0], now[:, queue.shape[-1] :]], axis=-1)

        queue = jax.tree.map(enqueue, past, state)
        state = step(params, jax.tree.map(go_on_from, queue, state), x)
        return Delayed(state, jax.tree.map(lambda queue: queue[:, 1:], queue))

    return skipping


def _skipping_states(zeros: Callable, output: Callable) -> tuple[Callable, Callable]:
    """The initial state and the output of a cell that skips."""

    def initial_state(batch_size: int) -> Delayed:
        state = zeros(batch_size)
        return Delayed(
            state,
            jax.tree.map(
                lambda leaf: jnp.zeros((batch_size, SKIP - 1, leaf.shape[-1] // 2)), state
            ),
        )

    return initial_state, lambda delayed: output(delayed.state)
