"""All networks of a forecast together as an ONNX model."""

from typing import Any

import jax
import numpy as np
import onnx

from experiments.common.onnx.models import average, build_model, input_size, read_stack
from experiments.forecasting.quantiles import LEVELS, gap_shifts

READ = """
read (float[B,T,{size}] inputs) => (float[T,B,{size}] xs)
{{
  xs = Transpose <perm = [1, 0, 2]> (inputs)
}}
"""
# As `ordered_quantiles`: the median, and the sums of the gaps below and above it.
FORECAST = """
forecasting (float[1,B,H] h_last) => (float[B,{targets},{levels}] quantiles)
{{
  first_axis = Constant <value = int64[1] {{0}}> ()
  state = Squeeze (h_last, first_axis)
  flat = Gemm (state, kernel, bias)
  shape = Constant <value = int64[3] {{0, {targets}, {levels}}}> ()
  raw = Reshape (flat, shape)
  sizes = Constant <value = int64[3] {{{middle}, 1, {middle}}}> ()
  raw_below, median, raw_above = Split <axis = -1> (raw, sizes)
  shifted_below = Add (raw_below, shift_below)
  shifted_above = Add (raw_above, shift_above)
  gaps_below = Softplus (shifted_below)
  gaps_above = Softplus (shifted_above)
  last_axis = Constant <value = int64 {{2}}> ()
  below = CumSum <reverse = 1> (gaps_below, last_axis)
  above = CumSum (gaps_above, last_axis)
  lower = Sub (median, below)
  upper = Add (median, above)
  quantiles = Concat <axis = -1> (lower, median, upper)
}}
"""


def build_ensemble(params: Any) -> onnx.ModelProto:
    """Builds all networks: `inputs` [B, T, I] -> the mean of their `quantiles` [B, K, Q].

    Args:
      params: of all networks, [seeds, members, ...].
    """
    params = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), params)
    count = len(jax.tree.leaves(params)[0])
    return average([_build_network(jax.tree.map(lambda x: x[i], params)) for i in range(count)])  # noqa: B023


def _build_network(params: Any) -> onnx.ModelProto:
    tree = params["params"]
    layers = read_stack(tree["GRU_0"])
    kernel, bias = (np.asarray(tree["DenseGeneral_0"][name]) for name in ("kernel", "bias"))
    middle = len(LEVELS) // 2
    shifts = gap_shifts().astype(np.float32)
    weights = {
        "kernel": kernel.reshape(len(kernel), -1),  # [H, K·Q]
        "bias": bias.reshape(-1),
        "shift_below": shifts[:middle],
        "shift_above": shifts[middle:],
    }
    sizes = {"targets": len(bias), "levels": len(LEVELS), "middle": middle}
    read = READ.format(size=input_size(layers))
    return build_model(layers, FORECAST.format(**sizes), weights, read)
