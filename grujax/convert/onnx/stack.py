"""The order of several GRU nodes, if each does nothing but read the outputs of the one before."""

from __future__ import annotations

from typing import Any

from grujax.convert.checks import quote
from grujax.convert.onnx.axes import Output, agree, axes_of_x, axes_of_y, move
from grujax.convert.onnx.constants import Constants
from grujax.convert.onnx.graph import Graph, first_output, inputs_of
from grujax.convert.onnx.lengths import EXACT
from grujax.convert.onnx.nodes import GRUNode
from grujax.convert.onnx.shapes import Size, TensorType

_SELECT = "select one with `node`"


def order_stack(
    graph: Graph,
    nodes: dict[str, GRUNode],
    constants: Constants,
    types: dict[str, TensorType],
) -> list[str]:
    """The names of the GRU nodes from the bottom up.

    Raises:
        ValueError: unless each X, but the first, is proved to be the output of the layer below with
            the axes of `stacked_gru`, and all nodes read the same lengths.
    """
    outputs = _trace(graph, nodes, constants, types)
    below = {name: outputs.get(node.inputs["X"]) for name, node in nodes.items()}
    above = {under.source: name for name, under in below.items() if under}
    order = [name for name, under in below.items() if under is None][:1]
    while order and order[-1] in above:
        order.append(above[order[-1]])
    if len(order) != len(nodes):
        raise ValueError(
            f"The GRU nodes {quote(list(nodes))} are not one stack, in which each reads the "
            f"outputs of the one before; {_SELECT}."
        )
    for name in order[1:]:
        _check_connection(graph, nodes[name], below[name])
    for name in order:
        _check_arguments(nodes[name], outputs)
    _check_lengths(graph, [nodes[name] for name in order], types)
    return order


def _trace(
    graph: Graph,
    nodes: dict[str, GRUNode],
    constants: Constants,
    types: dict[str, TensorType],
) -> dict[str, Output]:
    """All tensors that are computed from the outputs of a GRU node; for several, of the last."""
    grus = {gru.outputs[0] or gru.outputs[1]: gru for gru in nodes.values()}
    outputs: dict[str, Output] = {}
    for node in graph.nodes:
        if first_output(node) in grus:
            outputs |= _outputs_of(grus[first_output(node)], node, types)
            continue
        read = [outputs[name] for name in inputs_of(node) if name in outputs]
        if not read or graph.operator(node) in ("Shape", "Size"):
            continue
        first = outputs.get(node.input[0]) if node.input else None
        axes = move(graph, node, first, constants, types) if first else None
        origin = first or read[-1]
        blocked = origin.axes is None
        for name in filter(None, node.output):
            keeps = axes if name == node.output[0] else None
            last = origin.last if blocked else node
            outputs[name] = origin._replace(axes=keeps, last=last)
    return outputs


def _outputs_of(gru: GRUNode, node: Any, types: dict[str, TensorType]) -> dict[str, Output]:
    known = types.get(gru.outputs[0])
    axes = axes_of_y(gru)
    sizes: dict[str, Size] = {"T": None, "B": None, "D": gru.num_directions, "H": gru.hidden_size}
    if known and known.sizes and len(known.sizes) == len(axes):
        sizes |= {axis[0]: size for axis, size in zip(axes, known.sizes, strict=True)}
    y, h_last = (Output(gru.name, sizes, kept, node) for kept in (axes, None))
    return {name: output for name, output in zip(gru.outputs, (y, h_last), strict=True) if name}


def _check_connection(graph: Graph, node: GRUNode, under: Output | None) -> None:
    assert under is not None  # `order_stack` found it
    if under.axes is None or not agree(under.axes, axes_of_x(node), under.sizes):
        raise ValueError(
            f"The GRU nodes `{under.source}` and `{node.name}` are not known to be one stack: the "
            f"node {graph.describe(under.last)} between them may change more than the order and "
            f"the grouping of axes to [T, B, D·H]; {_SELECT}."
        )


def _check_arguments(node: GRUNode, outputs: dict[str, Output]) -> None:
    """Raises ValueError if lengths or a state follow from the outputs of a layer."""
    for kind in ("sequence_lens", "initial_h"):
        origin = outputs.get(node.inputs.get(kind, ""))
        if origin:
            raise ValueError(
                f"`{kind}` of the GRU node `{node.name}` is computed from the outputs of "
                f"`{origin.source}`, which a stack does not support; {_SELECT}."
            )


def _check_lengths(graph: Graph, nodes: list[GRUNode], types: dict[str, TensorType]) -> None:
    read = {_origin(graph, node.inputs.get("sequence_lens", ""), types) for node in nodes}
    if len(read) > 1:
        got = quote(sorted(name or "(none)" for name in read))
        raise ValueError(
            f"The GRU nodes {quote([node.name for node in nodes])} must read the same lengths to "
            f"be a stack, got {got}; {_SELECT}."
        )


def _origin(graph: Graph, name: str, types: dict[str, TensorType]) -> str:
    """The tensor of the same integers before Identity and Cast."""
    while name in graph.producers and name in types and str(types[name].dtype) in EXACT:
        node = graph.producers[name]
        if graph.operator(node) not in ("Identity", "Cast") or not graph.is_valid(node):
            break
        name = node.input[0]
    return name
