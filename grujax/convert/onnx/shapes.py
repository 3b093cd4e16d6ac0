"""The dtype and the axes of the tensors of a graph, as ONNX's shape inference knows them."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from grujax.convert.checks import require
from grujax.convert.onnx.graph import Graph

# A size of an axis: a number; or a name, which stands for the same number everywhere; or unknown.
Size = int | str | None

_LARGE = 1024  # numbers; no shape is computed from larger tensors


class TensorType(NamedTuple):
    """What is known of a tensor before the graph runs."""

    dtype: np.dtype | None
    sizes: tuple[Size, ...] | None


def infer_types(graph: Graph) -> dict[str, TensorType]:
    """The types of all tensors that the file states or that follow from its inputs.

    Nothing that the file states about computed tensors is believed. What two inputs name alike may
    differ: onnxruntime does not compare them.
    """
    onnx = require("onnx")
    model = _without_weights(onnx, graph)
    with suppress(Exception):  # a contradiction; then nothing is known
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    return {value.name: _read_type(value.type.tensor_type) for value in values} | {
        tensor.name: TensorType(_read_dtype(tensor.data_type), tuple(tensor.dims))
        for tensor in graph.initializers.values()
    }


def _without_weights(onnx: Any, graph: Graph) -> Any:
    """A model of ONNX's own nodes, with the shapes of large tensors in place of their values."""
    light = onnx.ModelProto(
        ir_version=graph.model.ir_version, opset_import=graph.model.opset_import
    )
    light.graph.name = "types"
    light.graph.node.extend(node for node in graph.nodes if graph.operator(node))
    for value in graph.model.graph.input:
        if value.name in graph.arguments:
            light.graph.input.append(value)
            for axis, size in enumerate(light.graph.input[-1].type.tensor_type.shape.dim):
                if size.WhichOneof("value") != "dim_value":
                    size.dim_param = f"{value.name}[{axis}]"
    for tensor in graph.initializers.values():
        if math.prod(tensor.dims) > _LARGE or tensor.data_location == tensor.EXTERNAL:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            light.graph.input.append(value)
        else:
            light.graph.initializer.append(tensor)
    return light


def _read_type(tensor: Any) -> TensorType:
    dtype = _read_dtype(tensor.elem_type)
    if not tensor.HasField("shape"):
        return TensorType(dtype, None)
    sizes = (
        size.dim_value if size.WhichOneof("value") == "dim_value" else size.dim_param or None
        for size in tensor.shape.dim
    )
    return TensorType(dtype, tuple(sizes))


def _read_dtype(number: int) -> np.dtype | None:
    try:
        return require("onnx").helper.tensor_dtype_to_np_dtype(number)
    except KeyError:  # undefined
        return None
