"""Recurrent cells by name, so that one word in the settings selects the cell."""

from bisect import bisect_left
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

import grujax
from grujax import baselines

# (params, xs [T, B, I], state0=None, lengths=, resets=, reverse=) -> (state_last, outputs)
Run = Callable[..., tuple[Any, Array]]


class Cell(NamedTuple):
    """The functions of a recurrent cell, or of another layer that reads a sequence step by step."""

    init: Callable[[Array, int, int], Any]  # (key, I, H) -> params
    step: Callable[[Any, Any, Array], Any]  # (params, state, x [B, I]) -> state
    initial_state: Callable[[tuple[int, ...], DTypeLike], Any]  # ((*B, H), dtype) -> state
    output: Callable[[Any], Array]  # state -> [B, H]
    run: Run  # over all steps, see `grujax.gru`; a reset goes back to the initial state


def _cell(
    init: Any,
    step: Any,
    scan: Any = None,
    initial_state: Any = jnp.zeros,
    output: Callable[[Any], Array] = lambda h: h,
) -> Cell:
    """A cell; `scan` runs it over a sequence with its states, by default `scan_cell` of `step`."""
    scan = scan or partial(grujax.scan_cell, step)

    def run(params: Any, xs: Array, state0: Any = None, **time: Any) -> tuple[Any, Array]:
        dtype = jnp.result_type(xs, *jax.tree.leaves(params))
        zeros = initial_state((*xs.shape[1:-1], params.hidden_size), dtype)
        start = zeros if state0 is None else state0
        state_last, states = scan(params, xs, start, reset_state=zeros, **time)
        return state_last, output(states)

    return Cell(init, step, initial_state, output, run)


CELLS = {
    "gru": _cell(grujax.init_gru, grujax.gru_cell, grujax.gru),
    "lstm": _cell(
        baselines.init_lstm,
        baselines.lstm_cell,
        initial_state=lambda *args: baselines.LSTMState(h=jnp.zeros(*args), c=jnp.zeros(*args)),
        output=lambda state: state.h,
    ),
    "rnn": _cell(baselines.init_rnn, baselines.rnn_cell),
    "layer_norm_gru": _cell(baselines.init_layer_norm_gru, baselines.layer_norm_gru_cell),
    "min_gru": _cell(baselines.init_min_gru, baselines.min_gru_cell, baselines.min_gru),
}


def hidden_size_for(cell: Cell, input_size: int, parameters: int) -> int:
    """The hidden size that brings a cell's number of parameters closest to `parameters`."""

    def count(hidden_size: int) -> int:
        init = partial(cell.init, input_size=input_size, hidden_size=hidden_size)
        return baselines.count_parameters(parameter_shapes(init))

    return closest_size(count, parameters)


def parameter_shapes(init: Callable[[Array], Any]) -> Any:
    """The shapes and dtypes of what `init(key)` draws, without an operation: it can be cached."""
    return jax.eval_shape(init, jax.eval_shape(jax.random.key, 0))


def closest_size(count: Callable[[int], int], parameters: int) -> int:
    """The hidden size whose `count`, an increasing function, is closest to `parameters`."""
    # A model has at least as many parameters as units, so this range holds the answer.
    larger = 1 + bisect_left(range(1, parameters + 1), parameters, key=count)
    candidates = (max(larger - 1, 1), larger)
    return min(candidates, key=lambda size: abs(count(size) - parameters))
