"""A trained character model as an ONNX model."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx
from jax import Array

from experiments.common.onnx import models as onnx_models
from experiments.common.onnx.files import export_model
from experiments.common.training.models import from_arrays, load_model
from experiments.text_generation.model import CharacterModel

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


def export(path: Path, command: str) -> None:
    """Writes a saved model as an ONNX file beside it.

    Args:
      path: the file of the model.
      command: the command that trains it.
    """
    arrays, record, alphabet = load_model(path, command)
    model = CharacterModel(**record["model"])
    params = from_arrays(model.shapes(), arrays)

    @jax.jit
    def run(symbols: Array, h0: Array) -> list[Array]:
        state, logits = model.read(params, h0[0], symbols)
        return [logits, state[None]]

    examples = []
    for steps, rows in ((9, 3), (1, 1)):
        [example] = onnx_models.draw_examples({"h0": (1, rows, model.hidden_size)})
        numbers = np.arange(steps * rows, dtype=np.int32) % model.num_symbols
        examples.append(example | {"symbols": numbers.reshape(steps, rows)})
    built = onnx_models.set_metadata(build_model(params), alphabet=alphabet)
    export_model(path.with_suffix(".onnx"), built, run, examples)
