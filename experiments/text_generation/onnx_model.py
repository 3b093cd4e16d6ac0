"""A trained character model as an ONNX model."""

from typing import Any

import numpy as np
import onnx

from experiments.common import onnx_models

READ = """
read (int32[T,B] symbols) => (float[T,B,{num_symbols}] xs)
{{
  depth = Constant <value = int32 {{{num_symbols}}}> ()
  xs = OneHot <axis = -1> (symbols, depth, off_and_on)
}}
"""
PREDICT = """
text_generation (float[T,B,H] hs) => (float[T,B,{num_symbols}] logits)
{{
  products = MatMul (hs, readout)
  logits = Add (products, bias)
}}
"""


def build_model(params: dict[str, Any]) -> onnx.ModelProto:
    """Builds a step of the language model, or many at once.

    `symbols` [T, B] and the state `h0` [1, B, H] -> `logits` [T, B, V] of the next symbols and the
    state `h_last` [1, B, H], which is the `h0` of the next call.

    Args:
      params: of a `CharacterModel` whose cell is a GRU.
    """
    num_symbols = len(params["bias"])
    weights = {name: np.asarray(params[name]) for name in ("readout", "bias")}
    weights["off_and_on"] = np.float32([0, num_symbols**0.5])
    sizes = {"num_symbols": num_symbols}
    return onnx_models.build_model(
        [params["cell"]],
        PREDICT.format(**sizes),
        weights,
        READ.format(**sizes),
        with_initial_state=True,
    )
