"""The parameters of one GRU layer and their initialization."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

    Example:
        >>> params = init_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> params.input_size, params.hidden_size, params.reset_after
        (8, 16, True)
    """

    w_x: Array  # [3, I, H]
    w_h: Array  # [3, H, H]
    b_x: Array  # [3, H]
    b_hn: Array  # [H]
    reset_after: bool = field(default=True, metadata={"static": True})

    @property
    def input_size(self) -> int:
        """I."""
        return self.w_x.shape[-2]

    @property
    def hidden_size(self) -> int:
        """H."""
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
        input_size: I.
        hidden_size: H.
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
    check_sizes(input_size, hidden_size, dtype)
    key_x, key_h, key_b, key_bn = jax.random.split(key, 4)
    return GRUParams(
        w_x=draw_gates([kernel_init] * 3, key_x, (input_size, hidden_size), dtype),
        w_h=draw_gates([recurrent_kernel_init] * 3, key_h, (hidden_size, hidden_size), dtype),
        b_x=draw_gates(
            [bias_init, update_bias_init or bias_init, bias_init], key_b, (hidden_size,), dtype
        ),
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
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def draw(initializer: Initializer, key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Draws in at least float32, then casts: a QR, for orthogonal weights, has no bfloat16."""
    return initializer(key, shape, jnp.promote_types(dtype, jnp.float32)).astype(dtype)


def draw_gates(
    gate_initializers: Sequence[Initializer], key: Array, shape: tuple[int, ...], dtype: DTypeLike
) -> Array:
    """Draws `[gates, *shape]`, each gate with its own initializer."""
    keys = jax.random.split(key, len(gate_initializers))
    return jnp.stack(
        [
            draw(initializer, gate_key, shape, dtype)
            for initializer, gate_key in zip(gate_initializers, keys, strict=True)
        ]
    )


def check_sizes(input_size: int, hidden_size: int, dtype: DTypeLike) -> None:
    """Raises ValueError unless parameters of these sizes and this dtype can be drawn."""
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, Integral) or size < 1:
            raise ValueError(f"`{name}` must be a positive integer, got {size!r}.")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"`dtype` must be a floating dtype, got {jnp.dtype(dtype).name}.")


def check_params(params: GRUParams) -> None:
    """Raises ValueError unless `params` is a `GRUParams` of one layer with consistent shapes."""
    check_arrays(params, GRUParams, _AXES)


def check_arrays(params: Any, kind: type, axes: Mapping[str, tuple[int | str, ...]]) -> None:
    """Raises ValueError unless `params` is a `kind` of floating arrays with these axes.

    An axis is a size, or a name that stands for the same size everywhere.
    """
    if not isinstance(params, kind):
        raise ValueError(f"`params` must be a {kind.__name__}, got {type(params).__name__}.")
    shapes = {name: jnp.shape(getattr(params, name)) for name in axes}
    if not _fit(shapes, axes):
        expected = (f"{name} [{', '.join(map(str, of))}]" for name, of in axes.items())
        got = (f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(
            f"`params` must have the shapes {', '.join(expected)}, got {', '.join(got)}. "
            "Use `jax.vmap` for the stacked parameters of several models."
        )
    dtypes = {name: jnp.result_type(getattr(params, name)) for name in axes}
    if not all(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes.values()):
        got = (f"{name} {dtype.name}" for name, dtype in dtypes.items())
        raise ValueError(f"`params` must have a floating dtype, got {', '.join(got)}.")


def _fit(shapes: Mapping[str, tuple[int, ...]], axes: Mapping[str, tuple[int | str, ...]]) -> bool:
    sizes: dict[str, int] = {}
    return all(
        len(shapes[name]) == len(of)
        and all(
            got == (sizes.setdefault(axis, got) if isinstance(axis, str) else axis)
            for got, axis in zip(shapes[name], of, strict=True)
        )
        for name, of in axes.items()
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
