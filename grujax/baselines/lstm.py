"""The long short-term memory (LSTM): a hidden state h and a gated memory cell c.

i  = σ(x·Wxi + h·Whi + bi)          input gate
f  = σ(x·Wxf + h·Whf + bf)          forget gate
g  = tanh(x·Wxg + h·Whg + bg)       candidate
o  = σ(x·Wxo + h·Who + bo)          output gate
c' = f ∘ c + i ∘ g
h' = o ∘ tanh(c')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import DTypeLike

from grujax.baselines.sizes import LayerSizes
from grujax.cell import add_bias, matmul_each, promote_operands
from grujax.checks import check_arrays, check_instance
from grujax.implementations import split_cells
from grujax.implementations.split_cells import SplitCell
from grujax.jax_support.pytrees import register
from grujax.params import Initializer, check_drawing, draw_gates

_AXES = {"w_x": (4, "I", "H"), "w_h": (4, "H", "H"), "b": (4, "H")}


@register
@dataclass(frozen=True, eq=False)
class LSTMParams(LayerSizes):
    """Parameters of one LSTM layer: a pytree of 4·(I·H + H² + H) numbers.

    The leading axis holds the gates in the order i (input), f (forget), g (candidate), o (output),
    as in PyTorch and Flax.

    Attributes:
        w_x: `[4, I, H]`, input weights.
        w_h: `[4, H, H]`, recurrent weights.
        b: `[4, H]`, biases.

    Example:
        >>> params = LSTMParams(jnp.ones((4, 2, 3)), jnp.ones((4, 3, 3)), b=jnp.zeros((4, 3)))
        >>> params.input_size, params.hidden_size
        (2, 3)
    """

    w_x: Array  #: [4, I, H]
    w_h: Array  #: [4, H, H]
    b: Array  #: [4, H]


@register
class LSTMState(NamedTuple):
    """The state of an LSTM between two steps.

    Attributes:
        h: `[B, H]`, the hidden state, which is also the output.
        c: `[B, H]`, the memory cell.

    Example:
        >>> LSTMState(h=jnp.zeros((4, 16)), c=jnp.zeros((4, 16))).c.shape
        (4, 16)
    """

    h: Array  #: [B, H]
    c: Array  #: [B, H]


def init_lstm(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    dtype: DTypeLike = jnp.float32,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_kernel_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
    forget_bias_init: Initializer = initializers.ones,
) -> LSTMParams:
    """Draws the parameters of one LSTM layer. Each initializer is called once per gate.

    Args:
        key: a JAX random key.
        input_size: I, a positive integer.
        hidden_size: H, a positive integer.
        dtype: the floating dtype of all parameters.
        kernel_init: initializes each gate's input weights `[I, H]`.
        recurrent_kernel_init: initializes each gate's recurrent weights `[H, H]`.
        bias_init: initializes each gate's bias `[H]`, except the forget gate's.
        forget_bias_init: initializes the forget gate's bias `[H]`; ones by default, so that a new
            LSTM remembers.

    Returns:
        `LSTMParams` of the given dtype.

    Raises:
        ValueError: if a size is not a positive integer, or `dtype` is not floating.

    Example:
        >>> params = init_lstm(jax.random.key(0), input_size=8, hidden_size=16)
        >>> params.w_h.shape, params.b[:, 0].tolist()
        ((4, 16, 16), [0.0, 1.0, 0.0, 0.0])

    Reference:
        Jozefowicz et al. 2015 (the forget gate's bias),
        https://proceedings.mlr.press/v37/jozefowicz15.html
    """
    check_drawing(
        key,
        dtype,
        {"input_size": input_size, "hidden_size": hidden_size},
        kernel_init=kernel_init,
        recurrent_kernel_init=recurrent_kernel_init,
        bias_init=bias_init,
        forget_bias_init=forget_bias_init,
    )
    key_x, key_h, key_b = jax.random.split(key, 3)
    biases = [bias_init, forget_bias_init, bias_init, bias_init]
    return LSTMParams(
        w_x=draw_gates([kernel_init] * 4, key_x, (input_size, hidden_size), dtype),
        w_h=draw_gates([recurrent_kernel_init] * 4, key_h, (hidden_size, hidden_size), dtype),
        b=draw_gates(biases, key_b, (hidden_size,), dtype),
    )


def lstm_cell(params: LSTMParams, state: LSTMState, x: Array) -> LSTMState:
    """One step of an LSTM with a forget gate and without peepholes.

    Args:
        params: `LSTMParams` for input size I and hidden size H.
        state: `LSTMState(h [B, H], c [B, H])` before the step; B stands for any number of batch
            axes.
        x: `[B, I]`, the input.

    Returns:
        `LSTMState` after the step, each `[B, H]` in the promoted dtype of `x` and `params`. Matmuls
        accumulate and gates are evaluated in at least float32.

    Raises:
        ValueError: if a shape or dtype does not match, or `state` is not an `LSTMState`.

    Example:
        >>> params = init_lstm(jax.random.key(0), input_size=8, hidden_size=16)
        >>> state = LSTMState(h=jnp.zeros(16), c=jnp.zeros(16))
        >>> lstm_cell(params, state, jnp.ones(8)).h.shape
        (16,)

    Reference:
        Hochreiter & Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735;
        Gers et al. 2000 (the forget gate), https://doi.org/10.1162/089976600300015015
    """
    check_arrays(params, LSTMParams, _AXES)
    check_instance("state", state, LSTMState)
    params, (h, c), x = promote_operands(params, state._asdict(), x)
    sums = tuple(map(jnp.add, _project(params, x), matmul_each(h, params.w_h)))
    return _update(None, LSTMState(h, c), sums)


def _project(params: LSTMParams, x: Array) -> tuple[Array, ...]:
    """x·Wx + b of each gate, [..., H]."""
    return tuple(map(add_bias, matmul_each(x, params.w_x), jnp.unstack(params.b)))


def _update(_: None, state: LSTMState, sums: tuple[Array, ...]) -> LSTMState:
    h, c = state
    i, f, g, o = sums
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    new_c = f * c.astype(f.dtype) + i * g
    return LSTMState(h=(o * jnp.tanh(new_c)).astype(h.dtype), c=new_c.astype(c.dtype))


split_cells.register(
    lstm_cell,
    SplitCell(
        project=_project,
        weights=lambda params: tuple(jnp.unstack(params.w_h)),
        rest=lambda params: None,
        hidden=lambda state: state.h,
        update=_update,
    ),
)
