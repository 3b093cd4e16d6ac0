"""The graph of a file: its nodes in the order in which they run, and who provides each tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from grujax.convert.checks import quote, require
from grujax.convert.onnx.model_file import ONNX, read_model, read_opset


@dataclass(frozen=True)
class Graph:
    """The main graph of an ONNX file."""

    path: Path
    model: Any  # the onnx.ModelProto
    opset: int
    nodes: list[Any]  # in an order in which they can run
    producers: dict[str, Any]  # tensor -> the node that computes it
    initializers: dict[str, Any]  # tensor -> the onnx.TensorProto that the file stores
    arguments: set[str]  # the graph's inputs, except those that the file stores
    redefined: set[str]  # operators of ONNX that the file defines as functions of its own

    def operator(self, node: Any) -> str:
        """The node's operator if it is one of ONNX, else "": another one may do anything."""
        is_standard = node.domain in ONNX and node.op_type not in self.redefined
        return node.op_type if is_standard else ""

    def is_valid(self, node: Any) -> bool:
        """Whether a node has the inputs and attributes that its operator has in this opset."""
        if len({attribute.name for attribute in node.attribute}) < len(node.attribute):
            return False
        onnx = require("onnx")
        context = onnx.checker.C.CheckerContext()
        context.ir_version = self.model.ir_version
        context.opset_imports = {entry.domain: entry.version for entry in self.model.opset_import}
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError:
            return False
        return True

    def describe(self, node: Any) -> str:
        """A node in a message."""
        return f"{quote([label(node)])} ({node.op_type})"


def read_graph(path: Path) -> Graph:
    """Reads the main graph of a file and checks that every tensor comes from one place.

    Raises:
        ValueError: if the file is no ONNX model, or if a tensor is missing, is defined twice, or is
            computed from itself.
        OSError: if the file cannot be read.
    """
    model = read_model(path)
    opset = read_opset(path, model)
    graph = model.graph
    stored = [tensor.name for tensor in graph.initializer]
    stored += [tensor.values.name for tensor in graph.sparse_initializer]
    computed = [name for node in graph.node for name in node.output if name]
    arguments = {value.name for value in graph.input} - set(stored)
    repeated = [
        name for name, count in Counter([*stored, *computed, *arguments]).items() if count > 1
    ]
    if repeated:
        raise ValueError(f"`{path}` defines {quote(repeated)} more than once.")
    _check_sources(path, graph, {*stored, *computed, *arguments})
    nodes = _sort(path, list(graph.node))
    return Graph(
        path=path,
        model=model,
        opset=opset,
        nodes=nodes,
        producers={name: node for node in nodes for name in node.output if name},
        initializers={tensor.name: tensor for tensor in graph.initializer},
        arguments=arguments,
        redefined={function.name for function in model.functions if function.domain in ONNX},
    )


def label(node: Any) -> str:
    """The name of a node, or its first output if it has none."""
    return node.name or first_output(node)


def first_output(node: Any) -> str:
    """The first output of a node, which no other node has; "" if it has none."""
    return next(filter(None, node.output), "")


def trace_back(name: str, sources: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """The tensor, its sources, theirs and so on: each once."""
    pending, seen = [name], set()
    while pending:
        current = pending.pop()
        if current not in seen:
            seen.add(current)
            yield current
            pending += sources(current)


def inputs_of(node: Any) -> Iterator[str]:
    """The tensors that a node reads, those that its bodies read from outside included."""
    yield from filter(None, node.input)
    for body in bodies_of(node):
        read = {output.name for output in body.output}
        read.update(*map(inputs_of, body.node))
        made = {value.name for part in (body.input, body.initializer) for value in part}
        yield from read.difference(made, *(inner.output for inner in body.node))


def bodies_of(node: Any) -> Iterator[Any]:
    """The graphs within an `If`, a `Loop`, or a `Scan`."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nested_nodes(nodes: Any) -> Iterator[tuple[Any, str]]:
    """All nodes inside the bodies of these nodes, each with a description of where it is."""
    for node in nodes:
        for body in bodies_of(node):
            where = f"the body of the {node.op_type} node {quote([label(node)])}"
            yield from ((inner, where) for inner in body.node)
            yield from nested_nodes(body.node)


def _check_sources(path: Path, graph: Any, known: set[str]) -> None:
    """Raises ValueError if a node of the main graph, or the graph's result, misses a tensor."""
    for node in graph.node:
        missing = [name for name in node.input if name and name not in known]
        if missing:
            raise ValueError(
                f"`{path}` misses {quote(missing)}, which the node {quote([label(node)])} "
                f"({node.op_type}) reads: no node, input or stored tensor has this name."
            )
    missing = [output.name for output in graph.output if output.name not in known]
    if missing:
        raise ValueError(f"`{path}` misses its outputs {quote(missing)}: no node computes them.")


def _sort(path: Path, nodes: list[Any]) -> list[Any]:
    """The nodes in an order in which each comes after those that it reads."""
    producers = {name: position for position, node in enumerate(nodes) for name in node.output}
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for position, node in enumerate(nodes):
        sorter.add(position, *{producers[name] for name in inputs_of(node) if name in producers})
    try:
        return [nodes[position] for position in sorter.static_order()]
    except CycleError as error:
        names = [label(nodes[position]) for position in dict.fromkeys(error.args[1])]
        raise ValueError(
            f"`{path}` has nodes that are computed from themselves: {quote(names)}."
        ) from None
