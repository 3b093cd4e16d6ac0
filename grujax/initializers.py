"""Initializers for recurrent cells, in addition to those of `jax.nn.initializers`.

An initializer is a function `(key, shape, dtype) -> array`. It is called once per gate, with the
shape `[H, H]` for a recurrent matrix and `[H]` for a bias. Here z = 1 carries the state, so a
positive bias of the update gate lengthens the memory, as a positive bias of an LSTM's forget gate
does. Useful values for the arguments of `init_gru`, of the other `init_*` functions and of the Flax
modules:

    recurrent_kernel_init = orthogonal(gain)    from JAX; gain is its `scale`. Keeps the norm of the
                                                state (Saxe et al. 2014, arxiv.org/abs/1312.6120)
                          = identity(gain)      a linear recurrence carries the state
                          = zeros               from JAX: initially the gates depend on the input
                                                only (as in xLSTM's code, Beck et al. 2024,
                                                arxiv.org/abs/2405.04517)
    update_bias_init      = constant(value)     from JAX: the mean memory is 1 + e^value steps;
                                                1 is the usual choice (Jozefowicz et al. 2015,
                                                proceedings.mlr.press/v37/jozefowicz15.html)
                          = chrono(t_max)       memories of all lengths from 2 to t_max steps
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.checks import check_number
from grujax.params import Initializer

__all__ = ["chrono", "identity"]


def identity(gain: float | Array = 1.0) -> Initializer:
    """Returns an initializer for gain · 1, the scaled identity matrix.

    Args:
        gain: the factor; with a value just below 1 the units forget slowly.

    Returns:
        An initializer for the shape `[H, H]`.

    Raises:
        ValueError: from the initializer, if the shape is not square.

    Example:
        >>> from grujax.baselines import init_rnn
        >>> params = init_rnn(jax.random.key(0), 8, 2, recurrent_kernel_init=identity(0.5))
        >>> params.w_h.tolist()
        [[0.5, 0.0], [0.0, 0.5]]

    Reference:
        Le et al. 2015, https://arxiv.org/abs/1504.00941
    """
    check_number("gain", gain)

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        del key
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"`identity` needs a square shape [H, H], got {list(shape)}.")
        return jnp.asarray(gain, dtype) * jnp.eye(shape[0], dtype=dtype)

    return init


def chrono(t_max: float | Array) -> Initializer:
    """Returns an initializer for biases whose units have memories of up to `t_max` steps.

        b = log u,   u ~ U[1, t_max − 1]

    This is for a gate that carries the state when it is 1. If only the bias acts, a unit keeps
    σ(b) = u / (1 + u) of its state per step, so its mean memory is 1 / (1 − σ(b)) = 1 + u steps:
    uniform between 2 and `t_max`.

    Use it for `update_bias_init` of a GRU. (The paper's GRU carries the state when z = 0, so its
    bias is −log u.) Or use it for `forget_bias_init` of an LSTM; the paper gives the input gate the
    negated bias: `replace(params, b=params.b.at[0].set(-params.b[1]))`.

    Args:
        t_max: the longest memory in steps, at least 2; about the longest dependency in the data.
            May be traced, so a sweep can draw it.

    Returns:
        An initializer for the shape `[H]`.

    Raises:
        ValueError: if `t_max` is concrete and less than 2.

    Example:
        >>> from grujax import init_gru
        >>> params = init_gru(jax.random.key(0), 8, 16, update_bias_init=chrono(100))
        >>> bool((params.b_x[1] >= 0).all())
        True

    Reference:
        Tallec & Ollivier 2018, https://arxiv.org/abs/1804.11188
    """
    check_number("t_max", t_max, "[2, inf)")

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        longest = jnp.asarray(t_max, dtype) - 1
        return jnp.log(jax.random.uniform(key, shape, dtype, minval=1, maxval=longest))

    return init
