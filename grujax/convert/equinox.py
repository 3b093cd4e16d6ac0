"""Equinox: `equinox.nn.GRUCell`.

Equinox packs the gates r, z, n along the rows of `weight_ih [3H, I]` and `weight_hh [3H, H]`;
`bias [3H]` and `bias_n [H]` are `b_x` and `b_hn`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from grujax.convert.checks import base_of, check_class, require
from grujax.convert.layouts import Layout, Leaf, read_cell, write_cell
from grujax.convert.trees import select
from grujax.params import GRUParams

EQUINOX = Layout(
    "equinox.nn.GRUCell",
    leaves=(
        Leaf("weight_ih", "w_x", "rzn", "3H I"),
        Leaf("weight_hh", "w_h", "rzn", "3H H"),
    ),
    optional=((Leaf("bias", "b_x", "rzn", "3H"), Leaf("bias_n", "b_h", "n", "H")),),
    outputs_first=True,
)


def from_equinox(cell: Any, *, prefix: str = "") -> GRUParams:
    """Converts an `equinox.nn.GRUCell` to `GRUParams`.

    Args:
        cell: the cell, with leaves of any floating dtype, or a module that holds it. With
            `use_bias=False` the biases are zero.
        prefix: where the cell is in the module, such as "encoder.cells.0".

    Returns:
        `GRUParams` with `reset_after=True`, in the cell's dtype.

    Raises:
        ValueError: if there is no GRU cell at `prefix` (the message lists where there are some), or
            a shape or dtype does not match.

    Example:
        >>> import equinox
        >>> from_equinox(equinox.nn.GRUCell(3, 5, key=jax.random.key(0))).w_x.shape
        (3, 3, 5)
    """
    cell = select("cell", cell, ".", prefix, _children, _is_cell)
    check_class("cell", cell, "equinox", "GRUCell", "__call__")
    with_biases = EQUINOX.names() if cell.use_bias else [leaf.name for leaf in EQUINOX.leaves]
    return read_cell(EQUINOX, {name: getattr(cell, name, None) for name in with_biases})


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
        >>> import jax.numpy as jnp
        >>> from grujax import init_gru
        >>> cell = to_equinox(init_gru(jax.random.key(0), input_size=3, hidden_size=5))
        >>> cell(jnp.ones(3), jnp.zeros(5)).shape
        (5,)
    """
    equinox = require("equinox")
    arrays = write_cell(EQUINOX, params)
    sizes = params.input_size, params.hidden_size
    cell = equinox.filter_eval_shape(equinox.nn.GRUCell, *sizes, key=jax.random.key(0))
    return equinox.tree_at(
        lambda cell: [getattr(cell, name) for name in arrays], cell, list(arrays.values())
    )


def _is_cell(node: Any) -> bool:
    return base_of(node, "equinox", "GRUCell") is not None


def _children(node: Any) -> Mapping[str, Any] | None:
    """The parts of a module, or of a list, tuple or dict in it; None for a cell and an array."""
    if isinstance(node, Mapping):
        return node
    if isinstance(node, list | tuple):
        return {str(index): item for index, item in enumerate(node)}
    if _is_cell(node) or not dataclasses.is_dataclass(node) or isinstance(node, type):
        return None
    names = (field.name for field in dataclasses.fields(node))
    return {name: getattr(node, name) for name in names if hasattr(node, name)}
