"""A trained recognizer as an ONNX model."""

import numpy as np
import onnx

from experiments.common import onnx_models
from experiments.common.onnx_models import dense_weights, group_steps, read_stack
from experiments.speech_recognition.trained import Trained

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
