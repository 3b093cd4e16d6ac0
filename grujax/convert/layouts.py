"""How a framework stores a GRU cell: tables of its arrays, and the one reader and writer of them.

A `Layout` is what differs between frameworks. `read_cell` makes `GRUParams` of the arrays that it
describes, and `write_cell` makes the arrays of `GRUParams`. Where the same numbers are stored, they
are copied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.convert.checks import check_form, measure, quote, read_array
from grujax.params import GRUParams

GATES = "rzn"  # the order in `GRUParams`
NUMBER = "(?:0|[1-9][0-9]{0,17})"  # of a layer, in a pattern


class Leaf(NamedTuple):
    """One array of a cell."""

    name: str
    holds: str  # "w_x", "w_h", "b_x" or "b_h" (a recurrent bias); two of them if they are joined
    gates: str  # the gates that it packs, in their order
    axes: str  # its shape, such as "I 3H"


class Naming(NamedTuple):
    """How the path of an array says which cell of a stack the array belongs to."""

    pattern: str = "{leaf}"  # a regular expression; may have the groups `layer` and `direction`
    separator: str = "/"  # of the parts of a path
    directions: tuple[str, str] = ("", "")  # what `direction` matches, forward first
    alone: str = "-"  # the direction that serves as both if it comes alone; "-" is none
    as_one: bool = False  # whether all cells have one hidden size, the same arrays and directions


def nest(separator: str, layer: str, alone: str) -> Naming:
    """The naming of Flax's modules, one in the other: layers, then directions, then cells.

    Args:
        separator: see `Naming`.
        layer: what stands before the number of a layer.
        alone: see `Naming`.
    """
    end = re.escape(separator)
    cells = f"(?:cell{end})*"
    pattern = (
        f"{cells}(?:{re.escape(layer)}(?P<layer>{NUMBER}){end}{cells})?"
        f"(?:(?P<direction>forward|backward)_rnn{end}{cells})?{{leaf}}"
    )
    return Naming(pattern, separator, ("forward", "backward"), alone)


class Layout(NamedTuple):
    """The arrays of a framework's cell."""

    framework: str  # in messages
    leaves: tuple[Leaf, ...]
    optional: tuple[tuple[Leaf, ...], ...] = ()  # at most one of these groups is stored
    reset_after: bool = True
    outputs_first: bool = False  # whether matrices are [outputs, inputs] and act from the left
    negates_update: bool = False  # whether the update gate is 1 − z of ours
    naming: Naming = Naming()

    def leaves_of(self, names: Collection[str]) -> tuple[Leaf, ...]:
        """The leaves of a cell that stores some under these names.

        Raises:
            ValueError: if the names are of two optional groups, which mean the same.
        """
        stored = [group for group in self.optional if any(leaf.name in names for leaf in group)]
        if len(stored) > 1:
            both = [leaf.name for group in stored for leaf in group if leaf.name in names]
            raise ValueError(
                f"A cell of {self.framework} must hold one of {quote(both)}, got {len(both)} of "
                "them, whose sum could be meant."
            )
        return (*self.leaves, *(stored[0] if stored else ()))

    def names(self) -> list[str]:
        """The names of all leaves, optional ones included."""
        return [leaf.name for group in (self.leaves, *self.optional) for leaf in group]


def read_cell(
    layout: Layout,
    stored: Mapping[str, Any],
    path_of: Callable[[str], str] = str,
    **sizes: int,
) -> GRUParams:
    """Converts the arrays of one cell to `GRUParams`.

    Args:
        layout: what the arrays are.
        stored: the arrays by the names of the leaves.
        path_of: makes the name in a message of the name of a leaf.
        sizes: H and I, if they are known.

    Raises:
        ValueError: if an array is missing, or has the wrong shape or dtype.
    """
    leaves = layout.leaves_of(stored)
    missing = [path_of(leaf.name) for leaf in leaves if leaf.name not in stored]
    if missing:
        raise ValueError(f"A cell of {layout.framework} must also hold {quote(missing)}.")
    parts: dict[tuple[str, str], Array] = {}
    for leaf in sorted(leaves, key=lambda leaf: "w_h" not in leaf.holds):  # H first
        array = read_array(path_of(leaf.name), stored[leaf.name], leaf.axes, **sizes)
        sizes = measure(leaf.axes, array.shape, sizes) or sizes
        parts |= _take_apart(leaf, array, sizes["H"], layout.outputs_first)
    zeros = jnp.zeros(sizes["H"], parts["w_h", "r"].dtype)
    biases = {gate: parts.get(("b_x", gate), zeros) for gate in GATES}
    for gate in "rz":
        if ("b_h", gate) in parts:
            biases[gate] += parts["b_h", gate]
    w_x, w_h, b_x = (
        jnp.stack([of_role[gate] for gate in GATES])
        for of_role in (
            {gate: parts["w_x", gate] for gate in GATES},
            {gate: parts["w_h", gate] for gate in GATES},
            biases,
        )
    )
    if layout.negates_update:
        w_x, w_h, b_x = map(_negate_update, (w_x, w_h, b_x))
    return GRUParams(w_x, w_h, b_x, parts.get(("b_h", "n"), zeros), layout.reset_after)


def write_cell(
    layout: Layout, params: GRUParams, optional: tuple[Leaf, ...] | None = None
) -> dict[str, Array]:
    """Converts `GRUParams` to the arrays of one cell, by the names of the leaves.

    Args:
        layout: what the arrays are.
        params: the parameters.
        optional: the group of optional leaves to write; None means the first.

    Raises:
        ValueError: if the framework computes the other reset form, or cannot hold `b_hn`.
    """
    params = check_form(params, layout.reset_after, layout.framework)
    if optional is None:
        optional = layout.optional[0] if layout.optional else ()
    leaves = (*layout.leaves, *optional)
    b_x = params.b_x
    if not any("b_h" in leaf.holds and "n" in leaf.gates for leaf in leaves):
        b_x = b_x.at[2].add(_without_b_hn(params, layout.framework))
    zeros = jnp.zeros_like(params.b_hn)
    roles = {"w_x": params.w_x, "w_h": params.w_h, "b_x": b_x}
    if layout.negates_update:
        roles = {role: _negate_update(gates) for role, gates in roles.items()}
    parts = {
        (role, gate): gates[i] for role, gates in roles.items() for i, gate in enumerate(GATES)
    }
    parts |= {("b_h", "r"): zeros, ("b_h", "z"): zeros, ("b_h", "n"): params.b_hn}
    return {leaf.name: _put_together(leaf, parts, layout.outputs_first) for leaf in leaves}


def _without_b_hn(params: GRUParams, framework: str) -> Array:
    """What `b_hn` adds to the candidate's bias where there is no place for it."""
    if params.reset_after and np.any(np.asarray(params.b_hn) != 0):
        raise ValueError(
            f"`b_hn` of shape {list(params.b_hn.shape)} must be zero, because {framework} has no "
            "recurrent bias for the candidate; the largest entry is "
            f"{float(jnp.abs(params.b_hn).max()):.3g}."
        )
    return params.b_hn


def _take_apart(
    leaf: Leaf, array: Array, hidden_size: int, outputs_first: bool
) -> dict[tuple[str, str], Array]:
    """The part `[inputs, H]` or `[H]` of each role and gate."""
    roles = leaf.holds.split()
    if leaf.holds.startswith("b"):
        blocks = array.reshape(len(roles), len(leaf.gates), hidden_size)
        return {
            (role, gate): blocks[i, j]
            for i, role in enumerate(roles)
            for j, gate in enumerate(leaf.gates)
        }
    matrix = array.T if outputs_first else array
    rows = [matrix] if len(roles) == 1 else [matrix[:hidden_size], matrix[hidden_size:]]
    return {
        (role, gate): part
        for role, of_role in zip(roles, rows, strict=True)
        for gate, part in zip(leaf.gates, jnp.split(of_role, len(leaf.gates), -1), strict=True)
    }


def _put_together(leaf: Leaf, parts: Mapping[tuple[str, str], Array], outputs_first: bool) -> Array:
    """The inverse of `_take_apart`."""
    blocks = [
        jnp.concatenate([parts[role, gate] for gate in leaf.gates], axis=-1)
        for role in leaf.holds.split()
    ]
    if leaf.axes.startswith("2 "):
        return jnp.stack(blocks)
    array = jnp.concatenate(blocks)
    return array.T if outputs_first else array


def _negate_update(gates: Array) -> Array:
    """Converts `[3, ...]` between z and 1 − z as the update gate: σ(−a) = 1 − σ(a)."""
    z = GATES.index("z")
    return gates.at[z].set(-gates[z])
