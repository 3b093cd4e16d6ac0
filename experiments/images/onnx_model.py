"""The bidirectional GRU over rows as an ONNX model."""

from typing import Any

import numpy as np
import onnx

from experiments.common.onnx import models as onnx_models
from experiments.common.onnx.models import dense_weights, input_size, read_stack

READ = """
read (float[B,T,{size}] images) => (float[T,B,{size}] xs)
{{
  xs = Transpose <perm = [1, 0, 2]> (images)
}}
"""
CLASSIFY = """
images (float[T,B,W] hs, float[N,B,H] h_last) => (float[B,{classes}] probabilities)
{{
  forward_index = Constant <value = int64 {{-2}}> ()
  backward_index = Constant <value = int64 {{-1}}> ()
  forward = Gather <axis = 0> (h_last, forward_index)
  backward = Gather <axis = 0> (h_last, backward_index)
  mean = ReduceMean <axes = [0], keepdims = 0> (hs)
  features = Concat <axis = -1> (forward, backward, mean)
  logits = Gemm (features, readout_kernel, readout_bias)
  scaled = Div (logits, temperature)
  probabilities = Softmax <axis = -1> (scaled)
}}
"""


def build_model(params: Any, temperature: float) -> onnx.ModelProto:
    """Builds the whole classifier: `images` [B, 28, 28], from 0 to 1 -> `probabilities` [B, C].

    Args:
      params: of a `RowReader`.
      temperature: divides the logits, so that the probabilities are calibrated.
    """
    tree = params["params"]
    layers = read_stack(tree["StackedGRU_0"])
    weights = dense_weights({"readout": tree["Dense_0"]}) | {"temperature": np.float32(temperature)}
    classify = CLASSIFY.format(classes=len(weights["readout_bias"]))
    read = READ.format(size=input_size(layers))
    return onnx_models.build_model(layers, classify, weights, read)
