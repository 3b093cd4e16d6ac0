"""The trained network as an ONNX model."""

from typing import Any

import onnx

from experiments.common.onnx import models as onnx_models
from experiments.common.onnx.models import dense_weights, read_stack

READ = """
flip_flop (float[T,B,H] hs) => (float[T,B,3] memory)
{
  products = MatMul (hs, readout_kernel)
  memory = Add (products, readout_bias)
}
"""


def build_model(params: Any) -> onnx.ModelProto:
    """Builds the whole network: pulses `xs` [T, B, 3] -> `memory` [T, B, 3]."""
    tree = params["params"]
    weights = dense_weights({"readout": tree["readout"]})
    return onnx_models.build_model(read_stack(tree["gru"]), READ, weights)
