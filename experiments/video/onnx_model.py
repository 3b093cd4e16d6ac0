"""The trained network's classifiers as an ONNX model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from experiments.common.onnx import models as onnx_models
from experiments.common.onnx.models import dense_weights, read_stack
from experiments.video.data import NUM_CLASSES, SIDE
from experiments.video.model import INK_SCALE

ENCODE = """
encode (float[B,T,{side},{side}] frames) => (float[T,B,F] xs)
{{
  one_by_one = Constant <value = int64[4] {{-1, {side}, {side}, 1}}> ()
  images = Reshape (frames, one_by_one)
  ink = Mul (images, ink_scale)
  {maps}
  row_means = ReduceMean <axes = [1], keepdims = 0> (maps)
  column_means = ReduceMean <axes = [2], keepdims = 0> (maps)
  means = Concat <axis = -1> (row_means, column_means)
  flat = Constant <value = int64[2] {{0, -1}}> ()
  profiles = Reshape (means, flat)
  position_sum = Gemm (profiles, position_kernel, position_bias)
  position = Relu (position_sum)
  {smaller}
  {contents}
  content = ReduceMax <axes = [1, 2], keepdims = 0> (contents)
  features = Concat <axis = -1> (content, position)
  frames_shape = Shape (frames)
  two_axes = Constant <value = int64[2] {{0, 1}}> ()
  batch_and_time = Gather (frames_shape, two_axes)
  rest = Constant <value = int64[1] {{-1}}> ()
  by_row_shape = Concat <axis = 0> (batch_and_time, rest)
  by_row = Reshape (features, by_row_shape)
  xs = Transpose <perm = [1, 0, 2]> (by_row)
}}
"""
# A `TorusConv`: the windows of rows and of columns wrap around.
CONVOLVE = """
  {target}_rows = Gather <axis = 1> ({source}, {target}_windows)
  {target}_both = Gather <axis = 3> ({target}_rows, {target}_windows)
  {target}_ordered = Transpose <perm = [0, 1, 3, 4, 2, 5]> ({target}_both)
  {target}_shape = Constant <value = int64[4] {{0, {side}, {side}, {patch}}}> ()
  {target}_patches = Reshape ({target}_ordered, {target}_shape)
  {target}_products = MatMul ({target}_patches, {target}_kernel)
  {target}_sums = Add ({target}_products, {target}_bias)
  {target} = Relu ({target}_sums)
"""
CLASSIFY = """
  {name}_products = MatMul (hs, {name}_kernel)
  {name}_logits = Add ({name}_products, {name}_bias)
  {name}_scaled = Div ({name}_logits, {name}_temperature)
  {name}_by_step = Softmax <axis = -1> ({name}_scaled)
  {name} = Transpose <perm = [1, 0, 2]> ({name}_by_step)
"""
# target: its module in the encoder, its source, and the sides of the source and of the kernel
CONVOLUTIONS = {
    "maps": ("TorusConv_0", "ink", SIDE, 5),
    "smaller": ("TorusConv_2", "maps", SIDE // 2, 3),
    "contents": ("TorusConv_1", "smaller", SIDE // 4, 5),
}


def build_model(params: Any, temperatures: Mapping[str, float]) -> onnx.ModelProto:
    """Builds the classifiers: `frames` [B, T, 32, 32] -> probabilities [B, T, C] after each frame.

    The outputs are "digit", "direction" and "speed". The prediction of frames is left out.

    Args:
      params: of a `VideoNetwork` with a GRU.
      temperatures: of each output, see `experiments.common.confidence.calibrate`.
    """
    tree = params["params"]
    encoder = tree["encoder"]
    layers = {"position": encoder["Dense_0"]}
    layers |= {target: encoder[name]["Dense_0"] for target, (name, *_) in CONVOLUTIONS.items()}
    layers |= {name: tree[f"questions_{name}"] for name in NUM_CLASSES}
    weights = dense_weights(layers) | {"ink_scale": np.float32(INK_SCALE)}
    weights |= {f"{name}_temperature": np.float32(temperatures[name]) for name in NUM_CLASSES}
    weights |= {
        f"{target}_windows": wrapped_windows(side, size)
        for target, (_, _, side, size) in CONVOLUTIONS.items()
    }
    convolutions = {
        target: CONVOLVE.format(
            target=target,
            source=source,
            side=side // 2,
            patch=len(weights[f"{target}_kernel"]),
        )
        for target, (_, source, side, _) in CONVOLUTIONS.items()
    }
    encode = ENCODE.format(side=SIDE, **convolutions)
    outputs = ", ".join(f"float[B,T,{size}] {name}" for name, size in NUM_CLASSES.items())
    nodes = "".join(CLASSIFY.format(name=name) for name in NUM_CLASSES)
    classify = f"video (float[T,B,H] hs) => ({outputs})\n{{{nodes}}}"
    return onnx_models.build_model(read_stack(tree["gru"]), classify, weights, encode)


def wrapped_windows(side: int, size: int) -> np.ndarray:
    """The rows that a convolution with stride 2 reads on a torus: int64 [side / 2, size]."""
    return (2 * np.arange(side // 2)[:, None] + np.arange(size) - size // 2) % side
