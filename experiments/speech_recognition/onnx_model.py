"""A trained recognizer as an ONNX model."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from jax import Array

from experiments.common.onnx import models as onnx_models
from experiments.common.onnx.files import export_model
from experiments.common.onnx.models import (
    dense_weights,
    draw_examples,
    group_steps,
    read_stack,
    set_metadata,
)
from experiments.common.rivals.settings import require_gru
from experiments.speech.spoken_digits import COEFFICIENTS
from experiments.speech_recognition.trained import Trained, load_recognizer

READ = """
read (float[B,T,{size}] cepstra{num_frames}) => (float[S,B,{step_size}] xs)
{{
  centered = Sub (cepstra, mean)
  frames = Div (centered, deviation)
  {group_steps}
  xs = Transpose <perm = [1, 0, 2]> (groups)
  {lengths}
}}
"""
LENGTHS = """
  stride_of_lengths = Constant <value = int32 {{{stride}}}> ()
  lengths = Div (num_frames, stride_of_lengths)
"""
LABEL = """
speech_recognition (float[S,B,H] hs) => (float[B,S,{labels}] log_probs)
{{
  products = MatMul (hs, readout_kernel)
  logits = Add (products, readout_bias)
  by_step = LogSoftmax <axis = -1> (logits)
  log_probs = Transpose <perm = [1, 0, 2]> (by_step)
}}
"""


def build_model(trained: Trained) -> onnx.ModelProto:
    """Builds a recognizer: `cepstra` [B, T, 13] -> `log_probs` [B, T // stride, labels + 1].

    A bidirectional one also has the input `num_frames` int32 [B], since it must know the end. One
    that can recognize a stream has the input `h0` [N, B, H], zeros at first, and the output
    `h_last`, which is the `h0` of the next call.
    """
    network, tree = trained.model, trained.params["params"]
    size = len(trained.standardizer.mean)
    weights = dense_weights({"readout": tree["Dense_0"]})
    weights |= {k: np.float32(v) for k, v in trained.standardizer._asdict().items()}
    read = READ.format(
        size=size,
        step_size=network.stride * size,
        group_steps=group_steps("frames", "groups", network.stride, size),
        num_frames=", int32[B] num_frames" if network.bidirectional else "",
        lengths=LENGTHS.format(stride=network.stride) if network.bidirectional else "",
    )
    return onnx_models.build_model(
        read_stack(tree["StackedGRU_0"]),
        LABEL.format(labels=len(weights["readout_bias"])),
        weights,
        read,
        with_lengths=network.bidirectional,
        with_initial_state=not network.bidirectional,
    )


def export(path: Path, command: str) -> None:
    """Writes a saved network as an ONNX file beside it.

    Args:
      path: the network.
      command: the one that trains it, for the error message.

    Raises:
      InputError: the network has another cell than a GRU.
    """
    trained = load_recognizer(path, command)
    network = trained.model
    require_gru(network.cell, "--export")

    @jax.jit
    def run(cepstra: Array, num_frames: Array | None = None, h0: Array | None = None) -> list:
        frames = (cepstra - trained.standardizer.mean) / trained.standardizer.deviation
        carry, log_probs = network.apply(
            trained.params, frames, num_frames, None if h0 is None else list(h0)
        )
        return [log_probs] if network.bidirectional else [log_probs, jnp.stack(carry)]

    examples = []
    for batch_size, num_frames in ((3, 21), (1, 8)):
        [example] = draw_examples({"cepstra": (batch_size, num_frames, COEFFICIENTS)})
        if network.bidirectional:
            example["num_frames"] = np.arange(num_frames, num_frames - batch_size, -1, np.int32)
        else:
            shape = (network.num_layers, batch_size, network.hidden_size)
            example |= draw_examples({"h0": shape})[0]
        examples.append(example)
    about = {"labels": trained.words, "separator": trained.separator}
    model = set_metadata(build_model(trained), temperature=trained.temperature, **about)
    export_model(path.with_suffix(".onnx"), model, run, examples)
