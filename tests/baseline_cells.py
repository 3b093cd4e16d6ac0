"""The cells of `grujax.baselines`, each with a transcription of its paper's equations.

The references are written against NumPy for one row, over the joint vector [h, x] as the papers
print them; handed `jax.numpy`, they give the reference gradients.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from helpers import CellCase, Draw, reference_walk

import grujax
from grujax import baselines


def sigmoid(a, numpy):
    return 1 / (1 + numpy.exp(-a))


def joint(params, numpy):
    """`[..., H + I, H]`, the weights over [h, x]."""
    return numpy.concatenate([params.w_h, params.w_x], -2)


def elman(params, h, x, numpy):
    return numpy.tanh(numpy.concatenate([h, x]) @ joint(params, numpy) + params.b)


def lstm(params, state, x, numpy):
    """Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000."""
    h, c = state
    hx, (w_i, w_f, w_g, w_o) = numpy.concatenate([h, x]), joint(params, numpy)
    b_i, b_f, b_g, b_o = params.b
    i, f = sigmoid(hx @ w_i + b_i, numpy), sigmoid(hx @ w_f + b_f, numpy)
    c = f * c + i * numpy.tanh(hx @ w_g + b_g)
    return baselines.LSTMState(h=sigmoid(hx @ w_o + b_o, numpy) * numpy.tanh(c), c=c)


def dreamer(params, h, x, numpy):
    """Hafner et al. 2021: gates in the order reset, candidate, update; update is our 1 − z."""
    r, z, n = range(3)
    w = numpy.concatenate([joint(params, numpy)[gate] for gate in (r, n, z)], -1)
    scale = numpy.concatenate([params.scale[r], params.scale[n], -params.scale[z]])
    offset = numpy.concatenate([params.offset[r], params.offset[n], 1 - params.offset[z]])
    parts = numpy.concatenate([h, x]) @ w
    parts = scale * (parts - parts.mean()) / numpy.sqrt(parts.var() + 1e-3) + offset
    reset, candidate, update = numpy.split(parts, 3)
    candidate = numpy.tanh(sigmoid(reset, numpy) * candidate)
    update = sigmoid(update - 1, numpy)
    return update * candidate + (1 - update) * h


def min_gru(params, h, x, numpy):
    """Feng et al. 2024, algorithm 1: their z is our 1 − z."""
    z = sigmoid(x @ -params.w_x[0] - params.b[0], numpy)
    candidate = x @ params.w_x[1] + params.b[1]
    return (1 - z) * h + z * candidate


def draw_rnn(draw: Draw, input_size: int, hidden_size: int) -> baselines.RNNParams:
    w_x = draw.normal(input_size, hidden_size, scale=0.6)
    w_h = draw.normal(hidden_size, hidden_size, scale=0.6)
    return baselines.RNNParams(w_x, w_h, draw.normal(hidden_size, scale=0.5))


def draw_lstm(draw: Draw, input_size: int, hidden_size: int) -> baselines.LSTMParams:
    w_x = draw.normal(4, input_size, hidden_size, scale=0.6)
    w_h = draw.normal(4, hidden_size, hidden_size, scale=0.6)
    return baselines.LSTMParams(w_x, w_h, draw.normal(4, hidden_size, scale=0.5))


def draw_layer_norm_gru(
    draw: Draw, input_size: int, hidden_size: int
) -> baselines.LayerNormGRUParams:
    w_x = draw.normal(3, input_size, hidden_size, scale=0.6)
    w_h = draw.normal(3, hidden_size, hidden_size, scale=0.6)
    scale = 1 + draw.normal(3, hidden_size, scale=0.2)
    return baselines.LayerNormGRUParams(w_x, w_h, scale, draw.normal(3, hidden_size, scale=0.5))


def draw_min_gru(draw: Draw, input_size: int, hidden_size: int) -> baselines.MinGRUParams:
    w_x = draw.normal(2, input_size, hidden_size, scale=0.6)
    return baselines.MinGRUParams(w_x, draw.normal(2, hidden_size, scale=0.5))


def lstm_state(array):
    return baselines.LSTMState(h=array(), c=array())


def scan(cell, params, xs, state0, **time):
    """`scan_cell` with the initial state that `gru` takes: None, or to be broadcast."""
    shape = (*xs.shape[1:-1], params.hidden_size)
    if state0 is None:
        state0 = jnp.zeros(shape, jnp.result_type(xs, *jax.tree.leaves(params)))
        state0 = lstm_state(lambda: state0) if cell is baselines.lstm_cell else state0
    state0 = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape), state0)
    return grujax.scan_cell(cell, params, xs, state0, **time)


BASELINES = {
    "rnn": CellCase(draw_rnn, partial(scan, baselines.rnn_cell), elman),
    "lstm": CellCase(draw_lstm, partial(scan, baselines.lstm_cell), lstm, lstm_state),
    "layer_norm_gru": CellCase(
        draw_layer_norm_gru, partial(scan, baselines.layer_norm_gru_cell), dreamer
    ),
    "min_gru": CellCase(draw_min_gru, partial(scan, baselines.min_gru_cell), min_gru),
    "min_gru in parallel": CellCase(draw_min_gru, baselines.min_gru, min_gru),
}


def reference_run(name: str):
    """A baseline's reference over time, with the arguments of `gru`."""
    case = BASELINES[name]

    def run(params, xs, state0, lengths, resets, reverse, numpy=np):
        shape = (*xs.shape[1:-1], params.hidden_size)
        if state0 is None:
            state0 = case.make_state(lambda: numpy.zeros(shape, xs.dtype))
        state0 = jax.tree.map(lambda leaf: numpy.broadcast_to(leaf, shape), state0)

        def step(state, x):
            return case.reference(params, state, x, numpy)

        return reference_walk(step, xs, state0, lengths, resets, reverse, numpy)

    return run
