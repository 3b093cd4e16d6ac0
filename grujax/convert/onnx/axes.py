"""Where time, batch and features go between two GRU nodes.

A tensor that holds the numbers of Y, each once, is described by its axes. Each axis is a tuple of
the axes of Y that it merges, the slowest first; () is an axis of size 1. The output of a stack's
layer in ONNX and in JAX agree if the next X has the axes (T,), (B,), (D, H).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from grujax.convert.onnx.constants import Constants
from grujax.convert.onnx.graph import Graph
from grujax.convert.onnx.nodes import GRUNode
from grujax.convert.onnx.shapes import Size, TensorType

Axes = tuple[tuple[str, ...], ...]

_RESHAPES = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}  # they keep the order of the numbers


class Output(NamedTuple):
    """A tensor that is computed from the outputs of a GRU node."""

    source: str  # the name of the GRU node
    sizes: dict[str, Size]  # of the axes T, B, D, H of its Y
    axes: Axes | None  # None if more than the axes may differ from Y
    last: Any  # the last node that computed it


def axes_of_y(node: GRUNode) -> Axes:
    """The axes of the output Y of a GRU node."""
    letters = "BTDH" if node.batch_major else "TDBH"
    return tuple((letter,) for letter in letters)


def axes_of_x(node: GRUNode) -> Axes:
    """The axes that X must have, in those of Y of the layer below."""
    return (("B",), ("T",), ("D", "H")) if node.batch_major else (("T",), ("B",), ("D", "H"))


def agree(got: Axes, wanted: Axes, sizes: dict[str, Size]) -> bool:
    """Whether two tensors are the same; an axis of size 1 may be anywhere."""
    return _drop_ones(got, sizes) == _drop_ones(wanted, sizes)


def move(
    graph: Graph,
    node: Any,
    read: Output,
    constants: Constants,
    types: dict[str, TensorType],
) -> Axes | None:
    """The axes of a node's first output, if its first input is `read` and no number changes."""
    operator = graph.operator(node)
    if read.axes is None or not graph.is_valid(node) or node.output[0] not in types:
        return None
    if operator == "Identity":
        return read.axes
    if operator == "Dropout":
        return read.axes if _is_inference(node, constants) else None
    if operator == "Cast":
        return read.axes if _keeps_precision(node, types) else None
    if operator == "Transpose":
        return _transpose(node, read.axes)
    if operator in _RESHAPES:
        return _reshape(read.axes, read.sizes, types[node.output[0]].sizes)
    return None


def _is_inference(node: Any, constants: Constants) -> bool:
    """Whether a Dropout does nothing: its third input, `training_mode`, is absent or false."""
    return len(node.input) < 3 or not node.input[2] or constants.is_zero(node.input[2])


def _keeps_precision(node: Any, types: dict[str, TensorType]) -> bool:
    """Whether a Cast goes from a floating dtype to one that holds all its numbers."""
    unknown = TensorType(None, None)
    before, after = (types.get(name, unknown).dtype for name in (node.input[0], node.output[0]))
    if not all(dtype and jnp.issubdtype(dtype, jnp.floating) for dtype in (before, after)):
        return False
    narrow, wide = jnp.finfo(before), jnp.finfo(after)
    return bool(narrow.nmant <= wide.nmant and narrow.maxexp <= wide.maxexp)


def _transpose(node: Any, axes: Axes) -> Axes | None:
    stated = [list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"]
    order = stated[0] if stated else [*range(len(axes))][::-1]
    if len(stated) > 1 or sorted(order) != [*range(len(axes))]:
        return None
    return tuple(axes[position] for position in order)


def _reshape(axes: Axes, sizes: dict[str, Size], shape: Sequence[Size] | None) -> Axes | None:
    """Divides the same numbers in the same order into axes of a new shape.

    An axis whose size is not known takes what the others leave; only one can.
    """
    if shape is None:
        return None
    atoms = [atom for axis in _drop_ones(axes, sizes) for atom in axis]
    names = {size for size in sizes.values() if isinstance(size, str)}
    unknown = [size is None or (isinstance(size, str) and size not in names) for size in shape]
    first = [*unknown, True].index(True)
    front = _take(atoms, sizes, shape[:first])
    if front is None:
        return None
    rest = atoms[sum(map(len, front)) :]
    if first == len(shape):
        return tuple(front) if not rest else None
    back = _take(rest[::-1], sizes, list(shape[first + 1 :])[::-1])
    if back is None:
        return None
    middle = rest[: len(rest) - sum(map(len, back))]
    return (*front, tuple(middle), *(axis[::-1] for axis in back[::-1]))


def _take(
    atoms: Sequence[str], sizes: dict[str, Size], shape: Sequence[Size]
) -> list[tuple[str, ...]] | None:
    """Gives each axis of `shape` the next of `atoms`; None if they do not fill it exactly."""
    pending, taken = list(atoms), []
    for size in shape:
        axis: list[str] = []
        while not _fills(axis, sizes, size):
            if not pending:
                return None
            axis.append(pending.pop(0))
        taken.append(tuple(axis))
    return taken


def _fills(axis: list[str], sizes: dict[str, Size], size: Size) -> bool:
    product: Size = 1
    for atom in axis:
        known = sizes[atom]
        if isinstance(known, int) and isinstance(product, int):
            product *= known
        else:
            product = known if product == 1 else None
    return product is not None and product == size


def _drop_ones(axes: Axes, sizes: dict[str, Size]) -> Axes:
    return tuple(tuple(atom for atom in axis if sizes[atom] != 1) for axis in axes)
