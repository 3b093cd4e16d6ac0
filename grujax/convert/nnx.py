"""Flax NNX: `flax.nnx.GRUCell`, alone or in `nnx.RNN`.

NNX packs the gates r, z, n along the columns of `dense_i [I, 3H]` and `dense_h [H, 3H]`. Its cell
has no recurrent bias for the candidate, so `b_hn` must be zero; `grujax.nnx.GRUCell` has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grujax.checks import check_callable, describe
from grujax.convert.checks import MAX_CELLS, check_form, read_array, require, too_many_cells
from grujax.convert.packing import join_gates, split_gates
from grujax.params import GRUParams

_ACTIVATIONS = {"gate_fn": jax.nn.sigmoid, "activation_fn": jnp.tanh}


def from_nnx(cell_or_state: Any) -> GRUParams:
    """Converts an NNX GRU cell to `GRUParams`.

    Args:
        cell_or_state: a `flax.nnx.GRUCell`, a `grujax.nnx.GRUCell`, or a module that holds one as
            `cell`, such as `nnx.RNN`; or the `nnx.state(...)` of one, also as a dict.

    Returns:
        `GRUParams`. A state does not contain the reset form; Flax's, `reset_after=True`, is
        assumed.

    Raises:
        ValueError: if there is no GRU, a shape does not match, the cell has activations other than
            sigmoid and tanh, or the module has a learned `h0`.

    Example:
        >>> from flax import nnx
        >>> from_nnx(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))).w_x.shape
        (3, 3, 5)
    """
    cell = _find_cell(cell_or_state)
    for name, expected in _ACTIVATIONS.items():
        _check_activation(name, getattr(cell, name, expected), expected)
    w_h = read_array("dense_h.kernel", _leaf(cell, "dense_h", "kernel"), "H 3H")
    hidden_size = w_h.shape[0]
    w_x = read_array("dense_i.kernel", _leaf(cell, "dense_i", "kernel"), "I 3H", H=hidden_size)
    b_x = read_array("dense_i.bias", _leaf(cell, "dense_i", "bias"), "3H", H=hidden_size)
    b_hn = _get(cell, "b_hn")
    if b_hn is None:
        b_hn = jnp.zeros(hidden_size, b_x.dtype)
    return GRUParams(
        w_x=split_gates(w_x),
        w_h=split_gates(w_h),
        b_x=split_gates(b_x),
        b_hn=read_array("b_hn", b_hn, "H", H=hidden_size),
        reset_after=getattr(cell, "reset_after", True),
    )


def to_nnx(params: GRUParams) -> Any:
    """Converts `GRUParams` to a `flax.nnx.GRUCell`.

    Args:
        params: `GRUParams` with `reset_after=True` and zero `b_hn`. For all others use
            `grujax.nnx.GRUCell`.

    Returns:
        A new `nnx.GRUCell`, to be used alone or in `nnx.RNN`. Get its parameters with `nnx.state`
        and put them into a model with `nnx.update`.

    Raises:
        ValueError: if `b_hn` is not zero or `reset_after` is False, which NNX does not support, or
            a shape does not match.
        ImportError: if Flax is not installed.

    Example:
        >>> from grujax import init_gru
        >>> cell = to_nnx(init_gru(jax.random.key(0), input_size=3, hidden_size=5))
        >>> cell.dense_i.kernel.shape
        (3, 15)
    """
    nnx = require("flax.nnx")
    params = check_form(params, True, "flax.nnx.GRUCell")
    if np.any(np.asarray(params.b_hn) != 0):
        raise ValueError(
            f"`b_hn` of shape {list(params.b_hn.shape)} must be zero, because flax.nnx.GRUCell has "
            "no recurrent bias for the candidate; the largest entry is "
            f"{float(jnp.abs(params.b_hn).max()):.3g}. grujax.nnx.GRUCell has one."
        )
    return nnx.GRUCell(
        params.input_size,
        params.hidden_size,
        kernel_init=lambda *_: join_gates(params.w_x),
        recurrent_kernel_init=lambda *_: join_gates(params.w_h),
        bias_init=lambda *_: join_gates(params.b_x),
        param_dtype=params.w_h.dtype,
        rngs=nnx.Rngs(0),
    )


def _find_cell(node: Any) -> Any:
    """Descends through `cell` to the innermost one."""
    for _ in range(MAX_CELLS):
        cell = _get(node, "cell")
        if cell is None:
            return node
        h0 = _get(node, "h0")
        if h0 is not None:
            raise ValueError(
                "`h0`, a learned initial state, does not fit into `GRUParams`: convert `cell` "
                f"alone, and pass `h0` to `gru`. It is {describe(h0)}."
            )
        node = cell
    raise too_many_cells("cell_or_state")


def _get(node: Any, name: str) -> Any:
    """A part of a module or of a state; None if it is missing."""
    return node.get(name) if isinstance(node, Mapping) else getattr(node, name, None)


def _leaf(cell: Any, layer: str, name: str) -> Any:
    leaf = _get(_get(cell, layer), name)
    if leaf is None:
        raise ValueError(
            f"`cell_or_state` has no `{layer}.{name}`, expected a GRUCell, a module that holds one "
            f"as `cell`, or the state of one; got {describe(cell)}."
        )
    return leaf


def _check_activation(name: str, got: Any, expected: Any) -> None:
    check_callable(name, got, "(array)")
    points = jnp.linspace(-3, 3, 7)
    if not np.allclose(got(points), expected(points), atol=1e-6):
        raise ValueError(
            f"`{name}` of the cell must be {expected.__name__}, which is fixed in grujax, got "
            f"{getattr(got, '__name__', got)!r}."
        )
