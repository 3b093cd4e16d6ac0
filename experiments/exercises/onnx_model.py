"""All trained networks together as an ONNX model."""

from typing import Any

import jax
import numpy as np
import onnx

from experiments.common.onnx.models import (
    average,
    build_model,
    dense_weights,
    group_steps,
    read_stack,
)
from experiments.exercises.model import ANGULAR_UNIT

READ = """
read (float[B,T,6] signals) => (float[S,B,H] xs)
{{
  scaled = Div (signals, units)
  squares = Mul (scaled, scaled)
  vectors_shape = Constant <value = int64[4] {{0, 0, 2, 3}}> ()
  vectors = Reshape (squares, vectors_shape)
  last_axis = Constant <value = int64[1] {{-1}}> ()
  squared_norms = ReduceSum <keepdims = 0> (vectors, last_axis)
  epsilon = Constant <value = float {{1e-6}}> ()
  positive = Add (squared_norms, epsilon)
  norms = Sqrt (positive)
  samples = Concat <axis = -1> (scaled, norms)
  {group_steps}
  products = MatMul (groups, step_kernel)
  sums = Add (products, step_bias)
  steps = Relu (sums)
  xs = Transpose <perm = [1, 0, 2]> (steps)
}}
"""
CLASSIFY = """
exercises (float[S,B,W] hs) => (float[B,{classes}] log_probs)
{{
  mean = ReduceMean <axes = [0], keepdims = 0> (hs)
  largest = ReduceMax <axes = [0], keepdims = 0> (hs)
  features = Concat <axis = -1> (mean, largest)
  logits = Gemm (features, readout_kernel, readout_bias)
  log_probs = LogSoftmax <axis = -1> (logits)
}}
"""


def build_ensemble(params: Any, stride: int) -> onnx.ModelProto:
    """Builds all networks: `signals` [B, T, 6] -> the mean of their `log_probs` [B, 7].

    Args:
      params: of all networks, [networks, ...].
      stride: samples per step.
    """
    count = len(jax.tree.leaves(params)[0])
    return average(
        [_build_network(jax.tree.map(lambda x: x[i], params), stride) for i in range(count)]  # noqa: B023
    )


def _build_network(params: Any, stride: int) -> onnx.ModelProto:
    tree = params["params"]
    weights = dense_weights({"step": tree["Dense_0"], "readout": tree["Dense_1"]})
    weights["units"] = np.repeat(np.float32([1, ANGULAR_UNIT]), 3)
    read = READ.format(group_steps=group_steps("samples", "groups", stride, 8))
    classify = CLASSIFY.format(classes=len(weights["readout_bias"]))
    return build_model(read_stack(tree["StackedGRU_0"]), classify, weights, read)
