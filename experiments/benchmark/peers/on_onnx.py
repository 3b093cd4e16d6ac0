"""onnxruntime and OpenVINO on the CPU, which run an ONNX model: the forward pass alone.

Both use as many threads as XLA, and read and write the same arrays in each call, without copies.
"""

import time

import jax
import numpy as np
from jax import Array

from experiments.benchmark.peers.problem import Problem, Program
from experiments.common.training.devices import available_cores
from grujax import convert


def compile_onnxruntime(problem: Problem, _: str) -> Program:
    """A session with bound inputs and outputs, whose threads do not spin between calls."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(
        _make_model(problem), options, providers=["CPUExecutionProvider"]
    )
    seconds = time.perf_counter() - start
    binding = session.io_binding()
    for name, array in _inputs(problem).items():
        binding.bind_cpu_input(name, np.array(array))
    h_last, hs = np.empty_like(_h0(problem)), np.empty_like(problem.c)
    for name, array in (("h_last", h_last), ("hs", hs)):
        binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))

    def run():
        session.run_with_iobinding(binding)
        return h_last, hs

    return Program(run, seconds)


def compile_openvino(problem: Problem, _: str) -> Program:
    """One infer request, in the dtype of the problem: OpenVINO itself would prefer bfloat16."""
    import openvino

    inputs, dtype = _inputs(problem), problem.xs.dtype
    precision = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}[dtype.name]
    start = time.perf_counter()
    core = openvino.Core()
    model = core.read_model(_make_model(problem), b"")
    model.reshape({name: list(array.shape) for name, array in inputs.items()})
    wrapper = openvino.preprocess.PrePostProcessor(model)
    ends = [*map(wrapper.input, ("xs", "h0")), *map(wrapper.output, ("h_last", "hs"))]
    for end in ends:
        end.tensor().set_element_type(precision)
    options = {
        "INFERENCE_NUM_THREADS": available_cores(),
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(wrapper.build(), "CPU", options).create_infer_request()
    seconds = time.perf_counter() - start
    for name, array in inputs.items():  # a bfloat16 tensor is float16 to NumPy
        request.get_tensor(name).data.view(array.dtype)[...] = array
    h_last, hs = (request.get_tensor(name).data.view(dtype) for name in ("h_last", "hs"))

    def run():
        request.infer()
        return h_last, hs

    return Program(run, seconds)


def _make_model(problem: Problem) -> bytes:
    """The serialized model, in float32."""
    stack = jax.tree.map(lambda leaf: leaf.astype(np.float32), problem.stack)
    with_lengths = problem.lengths is not None
    model = convert.to_onnx(stack, with_lengths=with_lengths, with_initial_state=True)
    return model.SerializeToString()


def _inputs(problem: Problem) -> dict[str, np.ndarray | Array]:
    """The inputs of the model, in the dtype of the problem."""
    inputs = {"xs": problem.xs, "h0": _h0(problem)}
    return inputs if problem.lengths is None else inputs | {"lengths": problem.lengths}


def _h0(problem: Problem) -> np.ndarray:
    """[layers times directions, B, H]"""
    return np.stack([state for layer in problem.h0 for state in layer])
