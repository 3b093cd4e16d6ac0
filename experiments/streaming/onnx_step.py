"""A step of the exported GRU in onnxruntime, on one thread."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.text_generation import build_model


def make_onnx_steps(params: dict[str, Any]) -> dict[str, Callable[[], np.ndarray]]:
    """Functions that read one symbol of one stream each, and return the logits [1, 1, V].

    "run" makes new arrays in each call. "bound" reads and writes the same ones, and the state goes
    from one of two buffers to the other.

    Args:
      params: of a `CharacterModel` whose cell is a GRU.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        build_model(params).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    shape = (1, 1, params["cell"].hidden_size)
    feed = {"symbols": np.zeros((1, 1), np.int32), "h0": np.zeros(shape, np.float32)}
    names = ["logits", "h_last"]

    def run() -> np.ndarray:
        logits, feed["h0"] = session.run(names, feed)
        return logits

    symbols, logits = feed["symbols"], np.zeros((1, 1, len(params["bias"])), np.float32)
    states = [np.zeros(shape, np.float32) for _ in range(2)]
    bindings = []
    for before, after in (states, states[::-1]):
        binding = session.io_binding()
        for name, array in (("symbols", symbols), ("h0", before)):
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        for name, array in (("logits", logits), ("h_last", after)):
            binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        bindings.append(binding)

    def bound() -> np.ndarray:
        session.run_with_iobinding(bindings[0])
        bindings.reverse()
        return logits

    return {"run": run, "bound": bound}
