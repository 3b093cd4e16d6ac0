"""The parameters of one GRU layer and their initialization."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import DTypeLike

from grujax.checks import (
    array_leaves,
    check_arrays,
    check_bool,
    check_callable,
    check_dtype,
    check_integer,
    check_key,
)
from grujax.jax_support.lapack import one_matrix_at_a_time
from grujax.jax_support.promotion import wide_dtype
from grujax.jax_support.pytrees import ArrayTree, register

Initializer = Callable[[Array, tuple[int, ...], Any], Array]


@register
@dataclass(frozen=True, eq=False)
class GRUParams(ArrayTree):
    """Parameters of one GRU layer, in one direction: a pytree.

    The leading axis holds the gates in the order r (reset), z (update), n (candidate), so that each
    gate's matrix is contiguous.

    Attributes:
        w_x: `[3, I, H]`, input weights.
        w_h: `[3, H, H]`, recurrent weights.
        b_x: `[3, H]`, biases.
        b_hn: `[H]`, the candidate's recurrent bias; with `reset_after` the reset gate scales it.
        reset_after: whether the reset gate acts after the candidate's recurrent product (cuDNN,
            PyTorch, Keras, Flax) or before it (Cho et al. 2014). A static field: it travels with
            the weights and is part of the tree structure.

    `==` returns a bool: whether form, shapes, dtypes and values are equal. Where JAX traces the
    values, it raises a ValueError.

    Example:
        >>> params = init_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> params.input_size, params.hidden_size, params.reset_after
        (8, 16, True)
    """

    w_x: Array  #: [3, I, H]
    w_h: Array  #: [3, H, H]
    b_x: Array  #: [3, H]
    b_hn: Array  #: [H]
    reset_after: bool = field(default=True, metadata={"static": True})

    def __post_init__(self) -> None:
        """Checks the static field alone: the others hold anything that a pytree's leaf may be."""
        object.__setattr__(self, "reset_after", check_bool("reset_after", self.reset_after))

    @property
    def input_size(self) -> int:
        """The input size, I."""
        return self.w_x.shape[-2]

    @property
    def hidden_size(self) -> int:
        """The hidden size, H."""
        return self.w_h.shape[-1]


_AXES = {"w_x": (3, "I", "H"), "w_h": (3, "H", "H"), "b_x": (3, "H"), "b_hn": ("H",)}


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
    update_bias_init: Initializer | None = None,
) -> GRUParams:
    """Draws the parameters of one GRU layer.

    Each initializer is called once per gate, so that the recurrent matrix of each gate is
    orthogonal. Drawing the joint `[H, 3H]` matrix would not give that.

    Args:
        key: a JAX random key.
        input_size: I, a positive integer.
        hidden_size: H, a positive integer.
        reset_after: the form of the candidate, see `GRUParams`.
        dtype: the floating dtype of all parameters.
        kernel_init: draws each gate's input weights `[I, H]`; LeCun normal by default.
        recurrent_kernel_init: draws each gate's recurrent weights `[H, H]`; orthogonal by default
            (Saxe et al. 2014).
        bias_init: draws each gate's bias `[H]` and `b_hn [H]`; zeros by default.
        update_bias_init: draws the update gate's bias `[H]`; `bias_init` if None. The larger this
            bias, the longer the memory: see `grujax.initializers`.

    Returns:
        `GRUParams` of the given dtype.

    Raises:
        ValueError: if a size is not a positive integer, or `dtype` is not floating.

    Example:
        >>> params = init_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> params.w_h.shape
        (3, 16, 16)
    """
    if update_bias_init is None:
        update_bias_init = bias_init
    check_drawing(
        key,
        dtype,
        {"input_size": input_size, "hidden_size": hidden_size},
        kernel_init=kernel_init,
        recurrent_kernel_init=recurrent_kernel_init,
        bias_init=bias_init,
        update_bias_init=update_bias_init,
    )
    reset_after = check_bool("reset_after", reset_after)
    key_x, key_h, key_b, key_bn = jax.random.split(key, 4)
    return GRUParams(
        w_x=draw_gates([kernel_init] * 3, key_x, (input_size, hidden_size), dtype),
        w_h=draw_gates([recurrent_kernel_init] * 3, key_h, (hidden_size, hidden_size), dtype),
        b_x=draw_gates([bias_init, update_bias_init, bias_init], key_b, (hidden_size,), dtype),
        b_hn=draw(bias_init, key_bn, (hidden_size,), dtype),
        reset_after=reset_after,
    )


def count_parameters(params: Any) -> int:
    """The number of parameters in a `GRUParams`, or in any other pytree of arrays.

    Args:
        params: a pytree of arrays.

    Returns:
        The sum of their sizes, an int.

    Example:
        >>> count_parameters(init_gru(jax.random.key(0), input_size=8, hidden_size=16))
        1216
    """
    return sum(leaf.size for leaf in array_leaves("params", params))


def draw(initializer: Initializer, key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Draws in at least float32, then casts: a QR, for orthogonal weights, has no bfloat16.

    An initializer of `flax.linen.with_partitioning` draws a box, which is a pytree of one array.
    """
    wide = wide_dtype(dtype)
    drawn = one_matrix_at_a_time(lambda key: initializer(key, shape, wide))(key)
    return jax.tree.map(lambda array: array.astype(dtype), drawn)


def draw_gates(
    gate_initializers: Sequence[Initializer], key: Array, shape: tuple[int, ...], dtype: DTypeLike
) -> Array:
    """Draws `[gates, *shape]`, each gate with its own initializer."""
    keys = jax.random.split(key, len(gate_initializers))
    gates = [
        draw(initializer, gate_key, shape, dtype)
        for initializer, gate_key in zip(gate_initializers, keys, strict=True)
    ]
    stacked = jnp.stack([array for gate in gates for array in jax.tree.leaves(gate)])
    boxes: list[Any] = [gate for gate in gates if hasattr(gate, "replace_boxed")]
    check_same_partitioning(repr(box.replace_boxed(None)) for box in boxes)
    if not boxes:
        return stacked
    return boxes[0].replace_boxed(stacked).add_axis(0, {"partition_name": None})  # of the gates


def check_same_partitioning(of_gates: Iterable[str]) -> None:
    """Raises ValueError if initializers of several gates, which are one array, disagree."""
    first, *others = [*of_gates] or [""]
    for other in others:
        if other != first:
            raise ValueError(
                "The initializers of the gates must give the same partitioning, because the gates "
                f"are one array, got {first} and {other}."
            )


def check_drawing(
    key: Array, dtype: DTypeLike, sizes: Mapping[str, int], **initializers: Initializer
) -> None:
    """Raises ValueError unless parameters of these sizes and this dtype can be drawn."""
    check_key("key", key)
    for name, size in sizes.items():
        check_integer(name, size)
    check_dtype("dtype", dtype)
    for name, initializer in initializers.items():
        check_callable(name, initializer, "(key, shape, dtype) -> array")


def check_params(params: GRUParams) -> None:
    """Raises ValueError unless `params` is a `GRUParams` of one layer with consistent shapes."""
    check_arrays(params, GRUParams, _AXES)
