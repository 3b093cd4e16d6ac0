"""The parameters of one GRU layer and their initialisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import ArrayLike, DTypeLike

Initializer = Callable[[Array, tuple[int, ...], Any], Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GRUParams:
    """Parameters of one GRU layer, in one direction: a pytree.

    The gates lie on the leading axis, in the order r (reset), z (update), n (candidate), so that
    each gate's matrix is an operand of its own inside the recurrence.

    Attributes:
        w_x: `[3, I, H]`, input weights.
        w_h: `[3, H, H]`, recurrent weights.
        b_x: `[3, H]`, biases.
        b_hn: `[H]`, the candidate's recurrent bias; with `reset_after` the reset gate scales it.
        reset_after: whether the reset gate acts after the candidate's recurrent product (cuDNN,
            PyTorch, Keras, Flax) or before it (Cho et al. 2014). A static field: it travels with
            the weights, and is part of the tree's structure.
    """

    w_x: Array  # [3, I, H]
    w_h: Array  # [3, H, H]
    b_x: Array  # [3, H]
    b_hn: Array  # [H]
    reset_after: bool = field(default=True, metadata={"static": True})

    @property
    def input_size(self) -> int:
        return self.w_x.shape[-2]

    @property
    def hidden_size(self) -> int:
        return self.w_h.shape[-1]


def init_gru(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    reset_after: bool = True,
    dtype: DTypeLike = jnp.float32,
    kernel_init: Initializer = initializers.lecun_normal(),
    recurrent_kernel_init: Initializer = initializers.orthogonal(),
    bias_init: Initializer = initializers.zeros,
) -> GRUParams:
    """Draws the parameters of one GRU layer.

    Every initialiser is called once per gate, so that the recurrent matrix of each gate is
    orthogonal by itself; drawing the joint `[H, 3H]` matrix would not give that.

    Args:
        key: a JAX random key.
        input_size: I.
        hidden_size: H.
        reset_after: the variant of the candidate, see `GRUParams`.
        dtype: a floating dtype, of all parameters.
        kernel_init: for each gate's input weights `[I, H]`; LeCun normal by default.
        recurrent_kernel_init: for each gate's recurrent weights `[H, H]`; orthogonal by default
            (Saxe et al. 2014).
        bias_init: for each gate's bias `[H]` and for `b_hn [H]`; zeros by default.

    Returns:
        `GRUParams` of the given dtype.

    Raises:
        ValueError: if a size is not a positive integer, or `dtype` is not floating.

    Example:
        >>> params = init_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> params.w_h.shape
        (3, 16, 16)
    """
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, Integral) or size < 1:
            raise ValueError(f"`{name}` must be a positive integer, got {size!r}.")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"`dtype` must be a floating dtype, got {jnp.dtype(dtype).name}.")
    key_x, key_h, key_b, key_bn = jax.random.split(key, 4)
    return GRUParams(
        w_x=_draw_gates(kernel_init, key_x, (input_size, hidden_size), dtype),
        w_h=_draw_gates(recurrent_kernel_init, key_h, (hidden_size, hidden_size), dtype),
        b_x=_draw_gates(bias_init, key_b, (hidden_size,), dtype),
        b_hn=draw(bias_init, key_bn, (hidden_size,), dtype),
        reset_after=reset_after,
    )


def draw(initializer: Initializer, key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Draws in at least float32, then casts: a QR, as orthogonal needs it, has no bfloat16 form."""
    return initializer(key, shape, jnp.promote_types(dtype, jnp.float32)).astype(dtype)


def _draw_gates(
    initializer: Initializer, key: Array, shape: tuple[int, ...], dtype: DTypeLike
) -> Array:
    keys = jax.random.split(key, 3)
    return jnp.stack([draw(initializer, gate_key, shape, dtype) for gate_key in keys])


def check_params(params: GRUParams) -> None:
    """Raises ValueError unless `params` is one layer's `GRUParams`, with shapes that fit."""
    if not isinstance(params, GRUParams):
        raise ValueError(f"`params` must be a GRUParams, got {type(params).__name__}.")
    shapes = {name: jnp.shape(getattr(params, name)) for name in ("w_x", "w_h", "b_x", "b_hn")}
    if len(shapes["w_x"]) == 3 and len(shapes["b_hn"]) == 1:
        (_, input_size, _), (hidden_size,) = shapes["w_x"], shapes["b_hn"]
        expected = {
            "w_x": (3, input_size, hidden_size),
            "w_h": (3, hidden_size, hidden_size),
            "b_x": (3, hidden_size),
            "b_hn": (hidden_size,),
        }
        if shapes == expected:
            _check_floating(params)
            return
    raise ValueError(
        "`params` must have the shapes w_x [3, I, H], w_h [3, H, H], b_x [3, H], b_hn [H], got "
        + ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        + ". Stacked parameters, of several models, are for `jax.vmap`."
    )


def _check_floating(params: GRUParams) -> None:
    dtypes = {
        name: jnp.result_type(getattr(params, name)) for name in ("w_x", "w_h", "b_x", "b_hn")
    }
    if not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes.values()):
        raise ValueError(
            "`params` must have a floating dtype, got "
            + ", ".join(f"{name} {dtype.name}" for name, dtype in dtypes.items())
            + "."
        )


def as_floating(name: str, value: ArrayLike, size: int, size_name: str) -> Array:
    """`value` as an array; raises ValueError unless it is floating with last axis `size`."""
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"`{name}` must have a floating dtype, got {array.dtype.name}.")
    if array.ndim == 0 or array.shape[-1] != size:
        raise ValueError(
            f"`{name}` has shape {list(array.shape)} but `params` expect {size_name} {size} "
            "on the last axis."
        )
    return array
