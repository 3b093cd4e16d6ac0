"""The simple recurrent network (Elman 1990), which has no gates.

h' = tanh(x·Wx + h·Wh + b)
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import DTypeLike

from grujax.baselines.sizes import LayerSizes
from grujax.cell import add_bias, matmul, promote_operands
from grujax.checks import check_arrays
from grujax.implementations import split_cells
from grujax.implementations.split_cells import SplitCell
from grujax.jax_support.pytrees import register
from grujax.params import Initializer, check_drawing, draw

_AXES = {"w_x": ("I", "H"), "w_h": ("H", "H"), "b": ("H",)}


@register
@dataclass(frozen=True, eq=False)
class RNNParams(LayerSizes):
    """Parameters of one layer of a simple recurrent network: a pytree of I·H + H² + H numbers.

    Attributes:
        w_x: `[I, H]`, input weights.
        w_h: `[H, H]`, recurrent weights.
        b: `[H]`, bias.

    Example:
        >>> params = RNNParams(w_x=jnp.ones((2, 3)), w_h=jnp.eye(3), b=jnp.zeros(3))
        >>> params.input_size, params.hidden_size
        (2, 3)
    """

    w_x: Array  #: [I, H]
    w_h: Array  #: [H, H]
    b: Array  #: [H]


def init_rnn(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    dtype: DTypeLike = jnp.float32,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_kernel_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
) -> RNNParams:
    """Draws the parameters of one layer of a simple recurrent network.

    Args:
        key: a JAX random key.
        input_size: I, a positive integer.
        hidden_size: H, a positive integer.
        dtype: the floating dtype of all parameters.
        kernel_init: initializes the input weights `[I, H]`.
        recurrent_kernel_init: initializes the recurrent weights `[H, H]`.
        bias_init: initializes the bias `[H]`.

    Returns:
        `RNNParams` of the given dtype.

    Raises:
        ValueError: if a size is not a positive integer, or `dtype` is not floating.

    Example:
        >>> params = init_rnn(jax.random.key(0), input_size=8, hidden_size=16)
        >>> params.w_x.shape, params.w_h.shape
        ((8, 16), (16, 16))

    Reference:
        Elman 1990, https://doi.org/10.1207/s15516709cog1402_1
    """
    check_drawing(
        key,
        dtype,
        {"input_size": input_size, "hidden_size": hidden_size},
        kernel_init=kernel_init,
        recurrent_kernel_init=recurrent_kernel_init,
        bias_init=bias_init,
    )
    key_x, key_h, key_b = jax.random.split(key, 3)
    return RNNParams(
        w_x=draw(kernel_init, key_x, (input_size, hidden_size), dtype),
        w_h=draw(recurrent_kernel_init, key_h, (hidden_size, hidden_size), dtype),
        b=draw(bias_init, key_b, (hidden_size,), dtype),
    )


def rnn_cell(params: RNNParams, h: Array, x: Array) -> Array:
    """One step of a simple recurrent network, h' = tanh(x·Wx + h·Wh + b).

    Args:
        params: `RNNParams` for input size I and hidden size H.
        h: `[B, H]`, the state before the step; B stands for any number of batch axes.
        x: `[B, I]`, the input.

    Returns:
        `[B, H]`, the state after the step, in the promoted dtype of `x` and `params`. Matmuls
        accumulate and tanh is evaluated in at least float32.

    Raises:
        ValueError: if a shape or dtype does not match.

    Example:
        >>> params = init_rnn(jax.random.key(0), input_size=8, hidden_size=16)
        >>> rnn_cell(params, jnp.zeros(16), jnp.ones(8)).shape
        (16,)

    Reference:
        Elman 1990, https://doi.org/10.1207/s15516709cog1402_1
    """
    check_arrays(params, RNNParams, _AXES)
    params, (h,), x = promote_operands(params, {"h": h}, x)
    return _update(None, h, (_project(params, x)[0] + matmul(h, params.w_h),))


def _project(params: RNNParams, x: Array) -> tuple[Array]:
    """x·Wx + b, [..., H]."""
    return (add_bias(matmul(x, params.w_x), params.b),)


def _update(_: None, h: Array, sums: tuple[Array, ...]) -> Array:
    return jnp.tanh(sums[0]).astype(h.dtype)


split_cells.register(
    rnn_cell,
    SplitCell(
        project=_project,
        weights=lambda params: (params.w_h,),
        rest=lambda params: None,
        hidden=lambda h: h,
        update=_update,
    ),
)
