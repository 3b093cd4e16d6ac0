"""Builds ONNX models of networks around one stack of GRUs.

The nodes before and after the stack are in ONNX's textual syntax, see `onnx.parser.parse_graph`.
A name that they read and do not define is a weight. The nodes before end with `xs` [T, B, I], which
the stack reads; those after begin with its outputs, `hs` [T, B, H] and `h_last` [N, B, H]. Batch
and time are symbolic, so one file takes sequences and batches of every size.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.parser

from grujax import GRUParams, convert

Layer = GRUParams | tuple[GRUParams, GRUParams]  # in one direction, or (forward, backward)


def build_model(
    layers: Sequence[Layer],
    after: str,
    weights: Mapping[str, Any],
    before: str = "",
    with_lengths: bool = False,
    with_initial_state: bool = False,
) -> onnx.ModelProto:
    """Builds a model of the nodes `before`, a stack of GRUs, and the nodes `after`.

    Args:
      layers: the stack, from bottom to top.
      after: a graph; its outputs are the model's.
      weights: arrays by name, for both graphs.
      before: a graph that makes `xs` and may make `lengths`; without it the stack's inputs are the
        model's.
      with_lengths: see `grujax.convert.to_onnx`.
      with_initial_state: whether the model has the input `h0` and the output `h_last`.
    """
    stack = convert.to_onnx(
        layers, with_lengths=with_lengths, with_initial_state=with_initial_state
    )
    first = onnx.parser.parse_graph(before) if before else onnx.GraphProto()
    last = onnx.parser.parse_graph(after)
    made = {name for node in first.node for name in node.output}
    inputs = [value for value in (*first.input, *stack.graph.input) if value.name not in made]
    known = {"hs", "h_last", *made, *(value.name for value in inputs)}
    inputs += [value for value in last.input if value.name not in known]
    state = [value for value in stack.graph.output if value.name == "h_last"]
    arrays = [onnx.numpy_helper.from_array(np.asarray(x), name) for name, x in weights.items()]
    graph = onnx.helper.make_graph(
        [*first.node, *stack.graph.node, *last.node],
        last.name,
        inputs,
        [*last.output, *(state if with_initial_state else [])],
        [*stack.graph.initializer, *arrays],
    )
    return _make_model(graph, stack)


def average(models: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """Builds the model whose output is the mean of those of models with the same inputs."""
    [output] = models[0].graph.output
    graphs = [_with_prefix(model.graph, f"network{i}_") for i, model in enumerate(models)]
    parts = [f"network{i}_{output.name}" for i in range(len(models))]
    mean = onnx.helper.make_node("Mean", parts, [output.name])
    graph = onnx.helper.make_graph(
        [*(node for graph in graphs for node in graph.node), mean],
        models[0].graph.name,
        models[0].graph.input,
        [output],
        [array for graph in graphs for array in graph.initializer],
    )
    return _make_model(graph, models[0])


def group_steps(samples: str, groups: str, stride: int, size: int) -> str:
    """Nodes that join `stride` samples [B, T, size] to a step: [B, T // stride, stride · size].

    Samples at the end that do not fill a step are left out.
    """
    return f"""
  {samples}_shape = Shape ({samples})
  time_axis = Constant <value = int64[1] {{1}}> ()
  num_samples = Gather ({samples}_shape, time_axis)
  stride = Constant <value = int64[1] {{{stride}}}> ()
  num_steps = Div (num_samples, stride)
  num_used = Mul (num_steps, stride)
  first_sample = Constant <value = int64[1] {{0}}> ()
  used = Slice ({samples}, first_sample, num_used, time_axis)
  groups_shape = Constant <value = int64[3] {{0, -1, {stride * size}}}> ()
  {groups} = Reshape (used, groups_shape)
"""


def set_metadata(model: onnx.ModelProto, **values: Any) -> onnx.ModelProto:
    """Stores JSON values in a model as its metadata, and returns the model."""
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in values.items()})
    return model


def read_stack(tree: Mapping[str, Any]) -> list[Layer]:
    """The layers in the parameters of a Flax module of `grujax.linen`, from bottom to top."""
    layers = convert.from_linen(tree)
    return layers if isinstance(layers, list) else [layers]


def input_size(layers: Sequence[Layer]) -> int:
    """I, the number of inputs of a stack."""
    first = layers[0]
    return (first[0] if isinstance(first, tuple) else first).input_size


def dense_weights(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The arrays of Flax's dense layers as "NAME_kernel" and "NAME_bias"."""
    return {
        f"{name}_{kind}": np.asarray(layer[kind])
        for name, layer in layers.items()
        for kind in ("kernel", "bias")
    }


def draw_examples(*shapes: Mapping[str, Iterable[int]]) -> list[dict[str, np.ndarray]]:
    """Draws float32 inputs of these shapes by name, from 0 to 1."""
    rng = np.random.default_rng(0)
    return [
        {name: rng.random(tuple(shape), np.float32) for name, shape in inputs.items()}
        for inputs in shapes
    ]


def _with_prefix(graph: onnx.GraphProto, prefix: str) -> onnx.GraphProto:
    """The graph with a prefix in the names of all tensors but its inputs."""
    shared = {"", *(value.name for value in graph.input)}

    def rename(name: str) -> str:
        return name if name in shared else prefix + name

    renamed = onnx.GraphProto()
    renamed.CopyFrom(graph)
    for node in renamed.node:
        node.input[:] = map(rename, node.input)
        node.output[:] = map(rename, node.output)
    for array in renamed.initializer:
        array.name = rename(array.name)
    return renamed


def _make_model(graph: onnx.GraphProto, like: onnx.ModelProto) -> onnx.ModelProto:
    """The checked model of a graph, of the versions of another model."""
    model = onnx.helper.make_model(
        graph, producer_name="grujax", ir_version=like.ir_version, opset_imports=like.opset_import
    )
    onnx.checker.check_model(model, full_check=True)
    return model
