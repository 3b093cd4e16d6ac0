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

# (params, xs [T, B, I], state0, lengths=, resets=, reset_state=, reverse=) -> (state_last, states)
Run = Callable[..., tuple[Any, Any]]


class Cell(NamedTuple):
    """The functions of a recurrent cell."""

    init: Callable[[Array, int, int], Any]  # (key, I, H) -> params
    step: Callable[[Any, Any, Array], Any]  # (params, state, x [B, I]) -> state
    initial_state: Callable[[tuple[int, ...], DTypeLike], Any]  # ((*B, H), dtype) -> zeros
    output: Callable[[Any], Array]  # state -> [B, H]
    run: Run  # over all steps


def _cell(init: Any, step: Any, run: Run | None = None) -> Cell:
    """A cell whose state is its output; `run` defaults to `scan_cell` over `step`."""
    return Cell(init, step, jnp.zeros, lambda h: h, run or partial(grujax.scan_cell, step))


CELLS = {
    "gru": _cell(grujax.init_gru, grujax.gru_cell, grujax.gru),
    "lstm": _cell(baselines.init_lstm, baselines.lstm_cell)._replace(
        initial_state=lambda *args: baselines.LSTMState(h=jnp.zeros(*args), c=jnp.zeros(*args)),
        output=lambda state: state.h,
    ),
    "rnn": _cell(baselines.init_rnn, baselines.rnn_cell),
    "layer_norm_gru": _cell(baselines.init_layer_norm_gru, baselines.layer_norm_gru_cell),
    "min_gru": _cell(baselines.init_min_gru, baselines.min_gru_cell, baselines.min_gru),
}


def run_cell(
    name: str,
    params: Any,
    xs: Array,
    state0: Any = None,
    *,
    lengths: Array | None = None,
    resets: Array | None = None,
    reverse: bool = False,
) -> tuple[Any, Array]:
    """Runs a cell over a sequence with its fastest implementation.

    Args:
      name: one of CELLS.
      params: the cell's parameters, for input size I and hidden size H.
      xs: [T, B, I].
      state0: the initial state, with the structure of the cell's `initial_state`; zeros if None.
      lengths, resets, reverse: see `grujax.gru`; a reset goes back to zeros.

    Returns: (state_last, outputs [T, B, H]); outputs in the padding are zero.
    """
    cell = CELLS[name]
    dtype = jnp.result_type(xs, *jax.tree.leaves(params))
    zeros = cell.initial_state((*xs.shape[1:-1], params.hidden_size), dtype)
    state_last, states = cell.run(
        params,
        xs,
        zeros if state0 is None else state0,
        lengths=lengths,
        resets=resets,
        reset_state=zeros,
        reverse=reverse,
    )
    return state_last, cell.output(states)


def hidden_size_for(name: str, input_size: int, parameters: int) -> int:
    """The hidden size that brings a cell's number of parameters closest to `parameters`."""

    def count(hidden_size: int) -> int:
        init = partial(CELLS[name].init, input_size=input_size, hidden_size=hidden_size)
        return baselines.count_parameters(jax.eval_shape(init, jax.random.key(0)))

    return closest_size(count, parameters)


def closest_size(count: Callable[[int], int], parameters: int) -> int:
    """The hidden size whose `count`, an increasing function, is closest to `parameters`."""
    # A model has at least as many parameters as units, so this range holds the answer.
    larger = 1 + bisect_left(range(1, parameters + 1), parameters, key=count)
    candidates = (max(larger - 1, 1), larger)
    return min(candidates, key=lambda size: abs(count(size) - parameters))
