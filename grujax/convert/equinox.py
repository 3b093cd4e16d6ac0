"""Equinox: `equinox.nn.GRUCell`.

Equinox packs the gates r, z, n along the rows of `weight_ih [3H, I]` and `weight_hh [3H, H]`;
`bias [3H]` and `bias_n [H]` are `b_x` and `b_hn`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from grujax.checks import describe
from grujax.convert.checks import check_form, read_array, require
from grujax.convert.packing import join_gates, split_gates
from grujax.params import GRUParams

_LEAVES = ("weight_ih", "weight_hh", "bias", "bias_n")


def from_equinox(cell: Any) -> GRUParams:
    """Converts an `equinox.nn.GRUCell` to `GRUParams`.

    Args:
        cell: the cell, with leaves of any floating dtype. With `use_bias=False` the biases are
            zero.

    Returns:
        `GRUParams` with `reset_after=True`, in the cell's dtype.

    Raises:
        ValueError: if `cell` is not a GRU cell, or a shape or dtype does not match.

    Example:
        >>> import equinox
        >>> from_equinox(equinox.nn.GRUCell(3, 5, key=jax.random.key(0))).w_x.shape
        (3, 3, 5)
    """
    missing = [name for name in (*_LEAVES, "use_bias") if not hasattr(cell, name)]
    if missing:
        raise ValueError(
            f"`cell` must be an equinox.nn.GRUCell, got {describe(cell)} without `{missing[0]}`."
        )
    w_h = read_array("weight_hh", cell.weight_hh, "3H H")
    hidden_size = w_h.shape[1]
    w_x = read_array("weight_ih", cell.weight_ih, "3H I", H=hidden_size)
    bias, bias_n = cell.bias, cell.bias_n
    if not cell.use_bias:
        bias = jnp.zeros(3 * hidden_size, w_h.dtype)
        bias_n = jnp.zeros(hidden_size, w_h.dtype)
    return GRUParams(
        w_x=split_gates(w_x.T),
        w_h=split_gates(w_h.T),
        b_x=split_gates(read_array("bias", bias, "3H", H=hidden_size)),
        b_hn=read_array("bias_n", bias_n, "H", H=hidden_size),
    )


def to_equinox(params: GRUParams) -> Any:
    """Converts `GRUParams` to an `equinox.nn.GRUCell`.

    Args:
        params: `GRUParams` with `reset_after=True`.

    Returns:
        A new `equinox.nn.GRUCell` in the dtype of `params`. Call it as `cell(x, h)` on one row.

    Raises:
        ValueError: if `reset_after` is False, which Equinox does not support, or a shape does not
            match.
        ImportError: if Equinox is not installed.

    Example:
        >>> from grujax import init_gru
        >>> cell = to_equinox(init_gru(jax.random.key(0), input_size=3, hidden_size=5))
        >>> cell(jnp.ones(3), jnp.zeros(5)).shape
        (5,)
    """
    equinox = require("equinox")
    params = check_form(params, True, "equinox.nn.GRUCell")
    sizes = params.input_size, params.hidden_size
    cell = equinox.filter_eval_shape(equinox.nn.GRUCell, *sizes, key=jax.random.key(0))
    leaves = (
        join_gates(params.w_x).T,
        join_gates(params.w_h).T,
        join_gates(params.b_x),
        params.b_hn,
    )
    return equinox.tree_at(lambda cell: [getattr(cell, name) for name in _LEAVES], cell, leaves)
