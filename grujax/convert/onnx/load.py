"""The layers of a file."""

from __future__ import annotations

import os

from grujax.checks import check_path, check_string
from grujax.convert.checks import quote, split_directions
from grujax.convert.onnx.constants import Constants
from grujax.convert.onnx.graph import Graph, label, nested_nodes, read_graph
from grujax.convert.onnx.lengths import drop_full_lengths
from grujax.convert.onnx.nodes import find_nodes, parse_node, read_layer
from grujax.convert.onnx.shapes import infer_types
from grujax.convert.onnx.stack import order_stack
from grujax.layers import Layer


def load_onnx(path: str | os.PathLike, node: str | None = None) -> list[Layer]:
    """Reads the layers of a GRU from an ONNX file.

    `stacked_gru(layers, xs, h0, lengths=lengths)` computes what the nodes compute, if `xs`
    `[T, B, I]`, `lengths` `[B]` and `h0` are what the file passes to them as X, `sequence_lens` and
    `initial_h`. Whatever else a node has is in the layers, or is refused.

    Args:
        path: the file. Tensors may be in other files of the same folder, as external data.
        node: the name of one GRU node, or its first output if the node has no name of its own. If
            None, the file must hold one GRU node or a stack: nodes that each read the outputs of
            the one before, where nothing in between changes more than the order and the grouping of
            axes. Dropout in inference mode, and casts to a dtype that holds all numbers, may be in
            between.

    Returns:
        A list with one item per node, from the bottom up: `GRUParams`, or a pair
        (forward, backward), in the file's dtype. A node with `layout=1` reads `[B, T, I]`; its
        layer, as every layer, reads `[T, B, I]`.

    Raises:
        ValueError: if the file is damaged or contradicts itself; if there is no such GRU, or it is
            inside a function or the body of an `If`, `Loop` or `Scan`; if a weight does not follow
            from what the file stores; or if a node uses what `stacked_gru` does not support:
            direction="reverse", `clip`, activations other than Sigmoid and Tanh, lengths that the
            file stores and that are not all T, or a stored initial state other than zero.
        OSError: if the file cannot be read: it is missing, or a folder.
        ImportError: if onnx is not installed.

    Example:
        >>> import jax, onnx, tempfile
        >>> from grujax import init_gru
        >>> from grujax.convert import to_onnx
        >>> layers = [init_gru(jax.random.key(0), input_size=3, hidden_size=5)]
        >>> with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        ...     onnx.save(to_onnx(layers), file.name)
        ...     [params] = load_onnx(file.name)
        >>> params.w_x.shape
        (3, 3, 5)
    """
    path = check_path("path", path)
    if node is not None:
        check_string("node", node)
    graph = read_graph(path)
    found = find_nodes(graph)
    _check_selection(graph, list(found), node)
    names = list(found) if node is None else [node]
    nodes = {name: parse_node(graph, name, found[name]) for name in names}
    constants, types = Constants(graph), infer_types(graph)
    nodes = {name: drop_full_lengths(graph, gru, constants, types) for name, gru in nodes.items()}
    if len(nodes) > 1:
        names = order_stack(graph, nodes, constants, types)
    layers = [read_layer(nodes[name], constants, types) for name in names]
    split_directions(layers)
    return layers


def _check_selection(graph: Graph, names: list[str], node: str | None) -> None:
    """Raises ValueError unless `node`, or all nodes together, are in the main graph."""
    if node in names:
        return
    nested = _nested_grus(graph)
    hint = ""
    if nested:
        hint = (
            f" {'; '.join(nested[:3])}: `load_onnx` reads the main graph alone. "
            "`onnx.inliner.inline_local_functions` moves the nodes of functions there."
        )
    if node is not None:
        there = quote(names) if names else "none"
        raise ValueError(f"There is no GRU node {quote([node])}, there is {there}.{hint}")
    if not names:
        raise ValueError(f"`{graph.path}` holds no GRU node in its main graph.{hint}")
    if nested:
        raise ValueError(
            f"`{graph.path}` holds GRU nodes besides {quote(names)}; select one with `node`.{hint}"
        )


def _nested_grus(graph: Graph) -> list[str]:
    """Where GRU nodes are, besides the main graph."""
    inner = list(nested_nodes(graph.nodes))
    for function in graph.model.functions:
        where = f"the function {quote([function.name])}"
        inner += [(node, where) for node in function.node]
        inner += [(node, where) for node, _ in nested_nodes(function.node)]
    return [
        f"There is {quote([label(node)])} in {where}"
        for node, where in inner
        if graph.operator(node) == "GRU"
    ]
