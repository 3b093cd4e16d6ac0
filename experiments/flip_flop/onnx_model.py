"""The trained network as an ONNX model."""

from typing import Any

import numpy as np
import onnx
import onnx.parser

from experiments.flip_flop.model import FlipFlop
from grujax import convert

# The readout, in ONNX's textual syntax; kernel and bias are weights. The GRU's nodes come before.
READ = """
read (float[T,B,H] hs) => (float[T,B,3] memory)
{
  products = MatMul (hs, kernel)
  memory = Add (products, bias)
}
"""


def build_model(model: FlipFlop, params: Any) -> onnx.ModelProto:
    """Builds the whole network: pulses `xs [T, B, 3]` -> `memory [T, B, 3]`, for any T and B."""
    gru = convert.to_onnx([model.apply(params, method="gru_params")])
    read = onnx.parser.parse_graph(READ)
    weights = params["params"]["readout"]
    graph = onnx.helper.make_graph(
        [*gru.graph.node, *read.node],
        "flip_flop",
        gru.graph.input,
        read.output,
        [*gru.graph.initializer]
        + [onnx.numpy_helper.from_array(np.asarray(x), name) for name, x in weights.items()],
    )
    built = onnx.helper.make_model(
        graph, producer_name="grujax", ir_version=gru.ir_version, opset_imports=gru.opset_import
    )
    onnx.checker.check_model(built, full_check=True)
    return built
