"""Tricks for training recurrent networks over long times, each a single change.

    plain        recurrent matrices N(0, 1/H), no bias, no clipping
    orthogonal   orthogonal recurrent matrices, one per gate (Saxe et al. 2014,
                 arxiv.org/abs/1312.6120)
    chrono       biases of the carry gate for memories of 2 to T steps, and their negatives for the
                 LSTM's input gate (Tallec & Ollivier 2018, arxiv.org/abs/1804.11188)
    gate bias    the carry gate's bias is 1 (Jozefowicz et al. 2015)
    layer norm   normalizes the pre-activations of all gates together (Ba et al. 2016,
                 arxiv.org/abs/1607.06450); for the GRU as `grujax.baselines.layer_norm_gru_cell`
    clipping     clips the gradient to norm 1 (Pascanu et al. 2013, arxiv.org/abs/1211.5063)
    zoneout      in training, each unit of the state keeps its value at 10% of the steps; at test
                 it takes the expected step (Krueger et al. 2017, arxiv.org/abs/1606.01305)
    skip         half of the units continue from their state 10 steps ago instead of the last one:
                 paths through time with a tenth of the steps (after Chang et al. 2017,
                 arxiv.org/abs/1710.02224, where all units do)

The carry gate is the GRU's update gate and the LSTM's forget gate. A plain RNN has none, so chrono
and gate bias do not apply to it.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import initializers

import grujax
from grujax import baselines
from grujax.baselines import LSTMState
from grujax.initializers import chrono

SKIP = 10  # steps back in time


class Trick(NamedTuple):
    """Changes to plain training. All fields but `structure` may be traced."""

    structure: str = "plain"  # or "layer norm" or "skip": other equations
    orthogonal: bool = False
    chrono: bool = False
    gate_bias: float = 0.0
    zoneout: float = 0.0
    max_gradient_norm: float = np.inf


TRICKS = {
    "plain": Trick(),
    "orthogonal": Trick(orthogonal=True),
    "chrono": Trick(chrono=True),
    "gate bias": Trick(gate_bias=1.0),
    "layer norm": Trick(structure="layer norm"),
    "clipping": Trick(max_gradient_norm=1.0),
    "zoneout": Trick(zoneout=0.1),
    "skip": Trick(structure="skip"),
}


def is_applicable(trick: str, cell: str) -> bool:
    """Whether a cell has the gate that a trick changes."""
    return cell != "rnn" or trick not in ("chrono", "gate bias")


def init_cell(
    cell: str, trick: Trick, input_size: int, hidden_size: int, steps: int, key: Array
) -> Any:
    """Draws the parameters of an "rnn", "lstm" or "gru" with a trick, for T = `steps`."""

    def matrix(key, shape, dtype):
        orthogonal = initializers.orthogonal()(key, shape, dtype)
        normal = initializers.normal(shape[0] ** -0.5)(key, shape, dtype)
        return jnp.where(trick.orthogonal, orthogonal, normal)

    def carry_bias(key, shape, dtype):
        return jnp.where(trick.chrono, chrono(steps)(key, shape, dtype), trick.gate_bias)

    sizes = (key, input_size, hidden_size)
    is_normalized = trick.structure == "layer norm"
    if cell == "gru":
        init = baselines.init_layer_norm_gru if is_normalized else grujax.init_gru
        return init(*sizes, recurrent_kernel_init=matrix, update_bias_init=carry_bias)
    if cell == "rnn":
        params = baselines.init_rnn(*sizes, recurrent_kernel_init=matrix)
    else:
        params = baselines.init_lstm(
            *sizes, recurrent_kernel_init=matrix, forget_bias_init=carry_bias
        )
        input_bias = jnp.where(trick.chrono, -params.b[1], params.b[0])
        params = replace(params, b=params.b.at[0].set(input_bias))
    return Normalized(params, jnp.ones_like(params.b)) if is_normalized else params


class Normalized(NamedTuple):
    """A cell's parameters with the scale of its normalized pre-activations; `b` is their offset."""

    params: Any
    scale: Array  # like `params.b`


def _normalize(gates: Array) -> Array:
    """Scales [B, H] or [B, gates, H] to zero mean and unit variance per row of the batch."""
    axes = tuple(range(1, gates.ndim))
    centered = gates - gates.mean(axes, keepdims=True)
    return centered * jax.lax.rsqrt(jnp.square(centered).mean(axes, keepdims=True) + 1e-3)


def _normalized_rnn(cell: Normalized, h: Array, x: Array) -> Array:
    params, scale = cell
    return jnp.tanh(scale * _normalize(x @ params.w_x + h @ params.w_h) + params.b)


def _normalized_lstm(cell: Normalized, state: LSTMState, x: Array) -> LSTMState:
    params, scale = cell
    joint = [x @ w_x + state.h @ w_h for w_x, w_h in zip(params.w_x, params.w_h, strict=True)]
    gates = scale * _normalize(jnp.stack(joint, 1)) + params.b  # [B, 4, H]
    i, f, g, o = (gates[:, gate] for gate in range(4))
    c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return LSTMState(h=jax.nn.sigmoid(o) * jnp.tanh(c), c=c)


NORMALIZED_STEPS = {
    "rnn": _normalized_rnn,
    "lstm": _normalized_lstm,
    "gru": baselines.layer_norm_gru_cell,
}
