"""Lengths that are T in every row, as TensorFlow's exporter computes them from the shape of X."""

from __future__ import annotations

from typing import Any

import numpy as np

from grujax.convert.onnx.constants import MOVES, Constants, run_node
from grujax.convert.onnx.graph import Graph, trace_back
from grujax.convert.onnx.nodes import GRUNode
from grujax.convert.onnx.shapes import Size, TensorType

_SELECTS = {"Cast", "Gather", "Identity", "Slice", "Squeeze", "Unsqueeze"}
_DEEPEST = 16  # nodes between `Shape` and what is selected; exporters need three
EXACT = ("int32", "int64", "float32", "float64")  # they hold every size


def drop_full_lengths(
    graph: Graph, node: GRUNode, constants: Constants, types: dict[str, TensorType]
) -> GRUNode:
    """The node without its lengths, if they are known to be all T steps: that is the default."""
    lengths, xs = node.inputs.get("sequence_lens"), types.get(node.inputs["X"])
    if not lengths or xs is None or xs.sizes is None or len(xs.sizes) != 3:
        return node
    known = types.get(lengths)
    sizes = _Sizes(graph, constants, types).in_tensor(lengths)
    steps = xs.sizes[1 if node.batch_major else 0]
    if steps is None or sizes != {steps} or known is None or known.dtype != np.dtype("int32"):
        return node
    inputs = {kind: name for kind, name in node.inputs.items() if kind != "sequence_lens"}
    return node._replace(inputs=inputs)


class _Sizes:
    """Tensors whose numbers are sizes of axes."""

    def __init__(self, graph: Graph, constants: Constants, types: dict[str, TensorType]):
        self._graph = graph
        self._constants = constants
        self._types = types

    def in_tensor(self, name: str) -> set[Size]:
        """The sizes that a tensor can hold; None is among them if it can hold others."""
        found: set[Size] = set()
        for tensor in trace_back(name, self._moved_into):
            if not self._moved_into(tensor):
                vector = self._vector(tensor)
                found |= self._stored(tensor) if vector is None else set(vector)
        return found

    def _moved_into(self, name: str) -> list[str]:
        """The tensors whose numbers a tensor holds; none if it holds those of a `Shape`."""
        if self._vector(name) is not None or not self._only_moves(name):
            return []
        node = self._graph.producers[name]
        return [source for source in [*node.input][MOVES[node.op_type]] if source]

    def _only_moves(self, name: str) -> bool:
        node, known = self._graph.producers.get(name), self._types.get(name)
        if node is None or self._graph.operator(node) not in MOVES:
            return False
        if not self._graph.is_valid(node):
            return False
        return node.op_type != "Cast" or (known is not None and str(known.dtype) in EXACT)

    def _stored(self, name: str) -> set[Size]:
        try:
            numbers = np.unique(self._constants.value(name)).tolist()
        except ValueError:  # the file does not determine it
            return {None}
        return {number if number == round(number) else None for number in numbers}

    def _vector(self, name: str) -> list[Size] | None:
        """The sizes that are selected from a `Shape`, in order; None if there is none."""
        chain: list[Any] = []
        node = self._graph.producers.get(name)
        while node is not None and self._graph.operator(node) in _SELECTS and len(chain) < _DEEPEST:
            if not self._only_moves(node.output[0]):
                return None
            chain.append(node)
            node = self._graph.producers.get(node.input[0])
        if node is None or self._graph.operator(node) != "Shape" or node.attribute:
            return None  # since opset 15, attributes select axes
        known = self._types.get(next(iter(node.input), ""))
        if known is None or known.sizes is None:
            return None
        places = np.arange(len(known.sizes))
        try:
            for node in reversed(chain):
                first, *others = filter(None, node.input)
                inputs = {first: places} | {name: self._constants.value(name) for name in others}
                places = run_node(node, self._graph.opset, inputs)[node.output[0]]
        except Exception:  # of the file, of onnx or of NumPy: the selection is not known
            return None
        return [known.sizes[int(place)] for place in places.ravel()]
