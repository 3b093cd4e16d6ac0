"""The layers that one word, `--cell`, chooses: a GRU, or a rival in its place."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from experiments.common.cells import CELLS, Cell
from experiments.common.rivals import transformer

MIN_GRU_LAYERS = 3  # its gates do not see its state, so one layer cannot react to what it has read


class Stack(NamedTuple):
    """The parameters of layers, of which each reads the outputs of the one before."""

    layers: tuple[Any, ...]

    @property
    def hidden_size(self) -> int:
        """H, of every layer."""
        return self.layers[0].hidden_size


def stack(cell: Cell, num_layers: int) -> Cell:
    """Several layers as one cell, whose state is the tuple of their states."""

    def init(key: Array, input_size: int, hidden_size: int) -> Stack:
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        keys = jax.random.split(key, num_layers)
        return Stack(
            tuple(cell.init(k, size, hidden_size) for k, size in zip(keys, sizes, strict=True))
        )

    def step(params: Stack, states: tuple[Any, ...], x: Array) -> tuple[Any, ...]:
        new_states = []
        for layer, state in zip(params.layers, states, strict=True):
            new_states.append(cell.step(layer, state, x))
            x = cell.output(new_states[-1])
        return tuple(new_states)

    def initial_state(shape: tuple[int, ...], dtype: DTypeLike) -> tuple[Any, ...]:
        return (cell.initial_state(shape, dtype),) * num_layers

    def run(params: Stack, xs: Array, state0: Any = None, **time: Any) -> tuple[Any, Array]:
        starts = state0 or (None,) * num_layers
        states_last = []
        for layer, start in zip(params.layers, starts, strict=True):
            state_last, xs = cell.run(layer, xs, start, **time)
            states_last.append(state_last)
        return tuple(states_last), xs

    return Cell(init, step, initial_state, lambda states: cell.output(states[-1]), run)


RIVALS = {
    "gru": CELLS["gru"],
    "lstm": CELLS["lstm"],
    "rnn": CELLS["rnn"],
    "min_gru": stack(CELLS["min_gru"], MIN_GRU_LAYERS),
    "transformer": Cell(
        transformer.init_transformer,
        transformer.transformer_step,
        transformer.initial_cache,
        lambda state: state.h,
        transformer.run_transformer,
    ),
}


def read_both_ways(
    name: str, params: Any, xs: Array, lengths: Array | None = None
) -> tuple[Array, Array]:
    """Reads xs [T, B, I] so that every output depends on the whole sequence.

    Args:
      name: one of RIVALS.
      params: from `init_both_ways`.
      xs: the sequence.
      lengths: int [B], the number of valid steps; None: all.

    Returns: the last output of each direction, side by side [B, 2·H], or that of a Transformer at
      the last valid step [B, H]; and all outputs [T, B, 2·H or H], zero in the padding.
    """
    if name == "transformer":
        hs = transformer.encode(params, xs, lengths)
        return hs[-1 if lengths is None else lengths - 1, jnp.arange(xs.shape[1])], hs
    runs = (
        RIVALS[name].run(direction, xs, lengths=lengths, reverse=reverse)
        for direction, reverse in zip(params, (False, True), strict=True)
    )
    states, outputs = zip(*runs, strict=True)
    last = [RIVALS[name].output(state) for state in states]
    return jnp.concatenate(last, -1), jnp.concatenate(outputs, -1)


def init_both_ways(name: str, key: Array, input_size: int, hidden_size: int) -> Any:
    """Draws the parameters of `read_both_ways`: two directions, or one Transformer."""
    if name == "transformer":
        return RIVALS[name].init(key, input_size, hidden_size)
    init = partial(RIVALS[name].init, input_size=input_size, hidden_size=hidden_size)
    forward, backward = jax.random.split(key)
    return init(forward), init(backward)
