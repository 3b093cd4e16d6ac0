"""Initialisers for recurrent cells, beside those of `jax.nn.initializers`.

An initialiser is a function `(key, shape, dtype) -> array`, called once per gate: with the shape
`[H, H]` for a recurrent matrix, and `[H]` for a bias. z = 1 carries the state here, so a positive
bias of the update gate remembers, as a positive bias of an LSTM's forget gate does. By argument of
`init_gru`, the other `init_…` functions and the Flax modules:

    recurrent_kernel_init = orthogonal(gain)    of JAX; gain is its `scale`. Keeps the state's norm
                                                (Saxe et al. 2014, arxiv.org/abs/1312.6120)
                          = identity(gain)      a linear recurrence carries the state
                          = zeros               of JAX: at first the gates read the input alone
                                                (as xLSTM's code does, Beck et al. 2024,
                                                arxiv.org/abs/2405.04517)
    update_bias_init      = constant(value)     of JAX: a memory of 1 + e^value steps in the mean;
                                                1 is the usual choice (Jozefowicz et al. 2015,
                                                proceedings.mlr.press/v37/jozefowicz15.html)
                          = chrono(t_max)       memories of all lengths from 2 to t_max steps
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.params import Initializer

__all__ = ["chrono", "identity"]


def identity(gain: float | Array = 1.0) -> Initializer:
    """gain · 1: a recurrent matrix that hands every unit to itself.

    Args:
        gain: the factor, below 1 to forget slowly.

    Returns:
        An initialiser for shapes `[H, H]`.

    Raises:
        ValueError: from the initialiser, if the shape is not square.

    Example:
        >>> from grujax.baselines import init_rnn
        >>> params = init_rnn(jax.random.key(0), 8, 2, recurrent_kernel_init=identity(0.5))
        >>> params.w_h.tolist()
        [[0.5, 0.0], [0.0, 0.5]]

    Reference:
        Le et al. 2015, https://arxiv.org/abs/1504.00941
    """

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        del key
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"`identity` needs a square shape [H, H], got {list(shape)}.")
        return jnp.asarray(gain, dtype) * jnp.eye(shape[0], dtype=dtype)

    return init


def chrono(t_max: float | Array) -> Initializer:
    """Biases with which the units remember for all lengths of time up to `t_max`.

    b = log u, u ~ U[1, t_max − 1], for a gate that carries the state where it is one. Where the
    bias alone speaks, a unit keeps σ(b) = u / (1 + u) of its state in a step, so that what it has
    read lives for 1 / (1 − σ(b)) = 1 + u steps in the mean: uniform between 2 and `t_max`.

    For `update_bias_init` of a GRU. (The paper's GRU carries where z is zero: its bias is −log u.)
    For `forget_bias_init` of an LSTM, whose input gate gets the opposite bias in the paper:
    `replace(params, b=params.b.at[0].set(-params.b[1]))`.

    Args:
        t_max: the longest memory, in steps, 2 or more; about the longest dependency in the data.
            May be traced, so that a sweep can draw it.

    Returns:
        An initialiser for shapes `[H]`.

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
    # `not >=`, so that NaN is refused too.
    if not isinstance(t_max, jax.core.Tracer) and not t_max >= 2:
        raise ValueError(f"`t_max` must be 2 or more steps, got {t_max}.")

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        longest = jnp.asarray(t_max, dtype) - 1
        return jnp.log(jax.random.uniform(key, shape, dtype, minval=1, maxval=longest))

    return init
