"""The tensors that the file determines: it stores them, or computes them from what it stores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from grujax.convert.checks import require
from grujax.convert.onnx.graph import Graph, inputs_of, trace_back
from grujax.convert.onnx.model_file import first_line, read_tensor

# Operators that only move numbers, and which of their inputs hold the numbers.
MOVES: dict[str, slice] = {
    "Concat": slice(None),
    "Where": slice(1, None),
    **dict.fromkeys(
        (
            *("Cast", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split"),
            *("Squeeze", "Tile", "Transpose", "Unsqueeze"),
        ),
        slice(1),
    ),
}
_COMPUTED = {*MOVES, "Add", "ConstantOfShape", "DequantizeLinear", "Div", "Mul", "Neg", "Sub"}
_ONLY_SHAPE_MATTERS = {"Shape", "Size", "EyeLike", "RandomNormalLike", "RandomUniformLike"}
_LIMIT = 2**26  # numbers in all tensors that are computed here


class Constants:
    """The values of the tensors that the file determines, each computed once."""

    def __init__(self, graph: Graph):
        self._graph = graph
        self._values: dict[str, np.ndarray] = {}
        self._arguments = _depend_on_arguments(graph)
        self._left = _LIMIT

    def is_argument(self, name: str) -> bool:
        """Whether the numbers in a tensor depend on those in the graph's inputs."""
        return name in self._arguments

    def value(self, name: str) -> np.ndarray:
        """The array that a tensor holds whenever the graph runs.

        Raises:
            ValueError: if the file does not determine it; the reason continues "..., which".
        """
        pending = [name]
        while pending:
            current = pending[-1]
            missing = [read for read in self._sources(current) if read not in self._values]
            if missing:
                pending += missing  # the graph has no cycles
                continue
            if current not in self._values:
                self._compute(current)
            pending.pop()
        return self._values[name]

    def is_zero(self, name: str) -> bool:
        """Whether a tensor holds only zeros, whatever its shape."""
        return all(
            self._moved_into(tensor) or self._is_filled_with_zero(tensor)
            for tensor in trace_back(name, self._moved_into)
        )

    def _moved_into(self, name: str) -> list[str]:
        """The tensors whose numbers a tensor holds, at other places or in another dtype."""
        node = self._graph.producers.get(name)
        if node is None or self._graph.operator(node) not in MOVES:
            return []
        return [*filter(None, [*node.input][MOVES[node.op_type]])]

    def _is_filled_with_zero(self, name: str) -> bool:
        node = self._graph.producers.get(name)
        try:
            if node and self._graph.operator(node) == "ConstantOfShape":
                fills = [self._read(name, attribute.t) for attribute in node.attribute]
            else:
                fills = [self.value(name)]
        except ValueError:  # the file does not determine it
            return False
        return not any(np.any(fill != 0) for fill in fills)

    def _read(self, name: str, tensor: Any) -> np.ndarray:
        return read_tensor(name, tensor, self._graph.path.parent)

    def _sources(self, name: str) -> list[str]:
        """What a tensor is computed from; raises ValueError if it cannot be computed here."""
        if name in self._values or name in self._graph.initializers:
            return []
        node = self._graph.producers.get(name)
        if node is None:
            kind = "an input of the graph" if name in self._graph.arguments else "stored sparse"
            raise ValueError(f"`{name}` is {kind}")
        known = self._graph.operator(node) in _COMPUTED | {"Constant"}
        if not known or not self._graph.is_valid(node):
            raise ValueError(f"the node {self._graph.describe(node)} computes `{name}`")
        return list(filter(None, node.input))

    def _compute(self, name: str) -> None:
        if name in self._graph.initializers:
            self._values[name] = self._read(name, self._graph.initializers[name])
            return
        node = self._graph.producers[name]
        stored = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        if self._graph.operator(node) == "Constant" and stored:
            self._values[name] = self._read(name, stored[0])
            return
        inputs = {read: self._values[read] for read in node.input if read}
        try:
            outputs = run_node(node, self._graph.opset, inputs, self._left)
        except Exception as error:  # of onnx or NumPy: the node contradicts itself
            raise ValueError(
                f"the node {self._graph.describe(node)} cannot be computed ({first_line(error)})"
            ) from error
        self._values.update(outputs)
        self._left -= sum(array.size for array in outputs.values())


def run_node(
    node: Any, opset: int, inputs: dict[str, np.ndarray], limit: int = _LIMIT
) -> dict[str, np.ndarray]:
    """Runs one node; raises ValueError, before it takes memory, for more numbers than `limit`."""
    onnx, reference = require("onnx"), require("onnx.reference")
    if node.op_type == "DequantizeLinear":
        opset = max(opset, 19)  # the first that `onnx.reference` has; it includes the older ones
    types = {
        name: onnx.helper.make_tensor_type_proto(
            onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in inputs.items()
    }
    shapes = {
        name: onnx.numpy_helper.from_array(array, name)
        for name, array in inputs.items()
        if array.ndim < 2
    }
    schema = onnx.defs.get_schema(node.op_type, opset)
    opsets = [onnx.helper.make_opsetid("", opset)]
    inferred = onnx.shape_inference.infer_node_outputs(
        schema, node, types, shapes, opset_imports=opsets
    )
    for output in inferred.values():
        sizes = [size.dim_value for size in output.tensor_type.shape.dim]
        if math.prod(sizes) > limit:
            raise ValueError(f"its result would have the shape {sizes}")
    names = [name for name in node.output if name]
    values = [[onnx.ValueInfoProto(name=name) for name in group] for group in (inputs, names)]
    graph = onnx.helper.make_graph([node], "node", *values)
    outputs = reference.ReferenceEvaluator(graph, opsets={"": opset}).run(None, inputs)
    return dict(zip(names, map(np.asarray, outputs), strict=True))


def _depend_on_arguments(graph: Graph) -> set[str]:
    """The tensors whose numbers, not only their shapes, follow from the graph's inputs."""
    found = set(graph.arguments)
    for node in graph.nodes:
        if graph.operator(node) not in _ONLY_SHAPE_MATTERS and not found.isdisjoint(
            inputs_of(node)
        ):
            found.update(filter(None, node.output))
    return found
