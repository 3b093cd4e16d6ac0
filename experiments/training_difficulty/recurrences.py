"""Recurrent layers with the tricks of `experiments.memory.tricks` applied."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import grujax
from experiments.common.cells import CELLS
from experiments.memory.tricks import NORMALIZED_STEPS, SKIP, Trick, init_cell


class Recurrence(NamedTuple):
    """A recurrent layer with a trick applied."""

    init: Callable[[Array], Any]  # key -> params
    step: Callable[[Any, Any, Array], Any]  # (params, state, x [B, I]) -> state, as at test
    initial_state: Callable[[int], Any]  # B -> state of zeros
    output: Callable[[Any], Array]  # state -> [B, H]
    run: Callable[..., Array]  # (params, xs [T, B, I], key or None at test) -> [T, B, H]


def make_recurrence(
    cell: str, trick: Trick, input_size: int, hidden_size: int, steps: int
) -> Recurrence:
    """Builds "rnn", "lstm" or "gru" with a trick, for sequences of T = `steps`."""
    plain = NORMALIZED_STEPS[cell] if trick.structure == "layer norm" else CELLS[cell].step
    step, train_step = _expected_zoneout(plain, trick.zoneout), _sampled_zoneout(plain)
    output = CELLS[cell].output

    def zeros(batch_size: int) -> Any:
        return CELLS[cell].initial_state((batch_size, hidden_size), jnp.float32)

    initial_state = zeros
    if trick.structure == "skip":
        step, train_step = _add_skips(step), _add_skips(train_step)
        initial_state, output = _add_skip_states(zeros, output)

    def run(params: Any, xs: Array, key: Array | None) -> Array:
        if cell == "gru" and trick.structure == "plain":
            return grujax.gru(params, xs, zoneout=trick.zoneout, key=key)[1]
        state = initial_state(xs.shape[1])
        if key is None:
            return output(grujax.scan_cell(step, params, xs, state)[1])
        masks = _draw_zoneout_masks(key, trick.zoneout, len(xs), zeros(xs.shape[1]))
        return output(grujax.scan_cell(train_step, params, (xs, masks), state)[1])

    init = partial(init_cell, cell, trick, input_size, hidden_size, steps)
    return Recurrence(init, step, initial_state, output, run)


def _expected_zoneout(step: Callable, rate: float | Array) -> Callable:
    """Zoneout at test: mixes the old and the new state at its rate."""

    def expected(params: Any, state: Any, x: Array) -> Any:
        new = step(params, state, x)
        return jax.tree.map(lambda old, new: rate * old + (1 - rate) * new, state, new)

    return expected


def _sampled_zoneout(step: Callable) -> Callable:
    """Zoneout in training: units keep their old state where the mask, an input, is true."""

    def sampled(params: Any, state: Any, x_and_mask: tuple[Array, Any]) -> Any:
        x, mask = x_and_mask
        return jax.tree.map(jnp.where, mask, state, step(params, state, x))

    return sampled


def _draw_zoneout_masks(key: Array, rate: float | Array, steps: int, state: Any) -> Any:
    """Draws which units keep their state: bool [T, B, H] for each array of the state."""

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
    """A state, and its skipping half at the SKIP − 1 steps before, oldest first."""

    state: Any
    past: Any  # each [B, SKIP − 1, H/2]


def _add_skips(step: Callable) -> Callable:
    """Makes the first half of the units continue from their state SKIP steps ago."""

    def skipping(params: Any, delayed: Delayed, x: Any) -> Delayed:
        state, past = delayed

        def enqueue(past: Array, now: Array) -> Array:
            return jnp.concatenate([past, now[:, None, : past.shape[-1]]], axis=1)

        def read(queue: Array, now: Array) -> Array:
            return jnp.concatenate([queue[:, 0], now[:, queue.shape[-1] :]], axis=-1)

        queue = jax.tree.map(enqueue, past, state)
        state = step(params, jax.tree.map(read, queue, state), x)
        return Delayed(state, jax.tree.map(lambda queue: queue[:, 1:], queue))

    return skipping


def _add_skip_states(zeros: Callable, output: Callable) -> tuple[Callable, Callable]:
    """Adapts a cell's initial state and output to `Delayed` states."""

    def initial_state(batch_size: int) -> Delayed:
        def past(leaf: Array) -> Array:
            return jnp.zeros((batch_size, SKIP - 1, leaf.shape[-1] // 2))

        state = zeros(batch_size)
        return Delayed(state, jax.tree.map(past, state))

    return initial_state, lambda delayed: output(delayed.state)
