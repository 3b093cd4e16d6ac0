"""ONNX: the weights of GRU nodes.

ONNX packs the gates in the order z, r, h along the rows of `W [D, 3H, I]` and `R [D, 3H, H]`, for
D directions. `B [D, 6H]` holds two biases per gate; those of z and r are added.
`linear_before_reset` is `reset_after`; its default is 0.

Reference: https://onnx.ai/onnx/operators/onnx__GRU.html
"""

from __future__ import annotations

import os
from typing import Any

import jax.numpy as jnp
import numpy as np

from grujax.checks import check_integer, check_path, check_string
from grujax.convert.checks import quote, read_array, require
from grujax.convert.packing import PackedWeights, unpack_weights
from grujax.layers import Layer

ORDER = "zrn"

# Nodes that may connect the GRUs of a stack: they only rearrange axes, or act only in training.
_CONNECTING = {"Squeeze", "Transpose", "Reshape", "Identity", "Dropout", "Unsqueeze"}


def from_onnx(W: Any, R: Any, B: Any = None, *, linear_before_reset: int = 0) -> Layer:  # noqa: N803
    """Converts the weights of one ONNX GRU node to `GRUParams`.

    Args:
        W: `[D, 3H, I]`, the input weights; D is 1, or 2 for a bidirectional node. All arrays may
            have any floating dtype.
        R: `[D, 3H, H]`, the recurrent weights.
        B: `[D, 6H]`, the biases; zero if None.
        linear_before_reset: the node's attribute of the same name, 0 or 1.

    Returns:
        `GRUParams`, or a pair (forward, backward) for D = 2. Run those of a node with
        `direction="reverse"` with `gru(..., reverse=True)`.

    Raises:
        ValueError: if a shape, a dtype or `linear_before_reset` is invalid.

    Example:
        >>> forward, backward = from_onnx(np.ones((2, 15, 3), "f"), np.ones((2, 15, 5), "f"))
        >>> forward.w_x.shape
        (3, 3, 5)
    """
    linear_before_reset = check_integer("linear_before_reset", linear_before_reset, 0, 1)
    recurrent = read_array("R", R, "D 3H H")
    num_directions, _, hidden_size = recurrent.shape
    if num_directions not in (1, 2):
        raise ValueError(f"`R` has shape {list(recurrent.shape)}, expected [D, 3H, H], D 1 or 2.")
    sizes = {"D": num_directions, "H": hidden_size}
    inputs = read_array("W", W, "D 3H I", **sizes)
    biases = jnp.zeros((num_directions, 6 * hidden_size), recurrent.dtype)
    if B is not None:
        biases = read_array("B", B, "D 6H", **sizes)
    directions = [
        unpack_weights(
            PackedWeights(w.T, r.T, *jnp.split(b, 2)), ORDER, reset_after=bool(linear_before_reset)
        )
        for w, r, b in zip(inputs, recurrent, biases, strict=True)
    ]
    return directions[0] if num_directions == 1 else (directions[0], directions[1])


def load_onnx(path: str | os.PathLike, node: str | None = None) -> list[Layer]:
    """Reads the layers of a GRU from an ONNX file.

    Args:
        path: the file.
        node: the name of one GRU node, or of its first output if the node has no name. If None,
            the file must hold one GRU node or a stack: nodes that each read the outputs of the
            one before, with at most rearranged axes and dropout in between.

    Returns:
        A list with one item per node, from the bottom up: `GRUParams`, or a pair
        (forward, backward), in the file's dtype.

    Raises:
        ValueError: if there is no such GRU; if a weight is not stored in the file; or if a node
            uses what `stacked_gru` does not support: direction="reverse", `clip`, activations other
            than Sigmoid and Tanh, or a stored initial state other than zero.
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
    onnx = require("onnx")
    graph = onnx.load(path).graph
    nodes = {n.name or n.output[0] or n.output[1]: n for n in graph.node if n.op_type == "GRU"}
    if not nodes:
        raise ValueError(f"`{path}` holds no GRU node.")
    if node is not None and node not in nodes:
        raise ValueError(f"There is no GRU node `{node}`, there is {quote(list(nodes))}.")
    names = _order_stack(graph, nodes) if node is None else [node]
    constants = _constants(graph)
    arrays = {
        name: onnx.numpy_helper.to_array(constants[name])
        for key in names
        for name in nodes[key].input
        if name in constants
    }
    return [_read_node(onnx, key, nodes[key], arrays) for key in names]


def _constants(graph: Any) -> dict[str, Any]:
    """The tensors that the graph stores, by name: initializers and Constant nodes."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values = [a.t for a in node.attribute if a.name == "value"]
            constants.update(zip(node.output, values, strict=False))
    return constants


def _order_stack(graph: Any, nodes: dict[str, Any]) -> list[str]:
    """The names of the GRU nodes from the bottom up; each must read the one before."""
    producers = {output: n for n in graph.node for output in n.output if output}
    owner = {n.output[0]: name for name, n in nodes.items() if n.output[0]}
    below = {}
    for name, n in nodes.items():
        source = n.input[0]
        while source not in owner and source in producers:
            if producers[source].op_type not in _CONNECTING:
                break
            source = producers[source].input[0]
        below[name] = owner.get(source)
    above = {under: name for name, under in below.items()}
    order = [name for name, under in below.items() if under is None][:1]
    while order and order[-1] in above:
        order.append(above[order[-1]])
    if len(order) != len(nodes):
        raise ValueError(
            f"The GRU nodes {quote(list(nodes))} are not one stack, in which each reads the "
            "outputs of the one before; select one with `node`."
        )
    return order


def _read_node(onnx: Any, name: str, node: Any, arrays: dict[str, np.ndarray]) -> Layer:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    _check_attributes(name, attributes)
    inputs = [*node.input, *[""] * (6 - len(node.input))]
    stored = []
    for letter, tensor in zip("WRB", inputs[1:4], strict=True):
        if tensor and tensor not in arrays:
            raise ValueError(
                f"`{letter}` of the GRU node `{name}` is `{tensor}`, which is computed or an input "
                "of the graph; expected an initializer or a Constant. Fold the constants of the "
                "file first."
            )
        stored.append(arrays[tensor] if tensor else None)
    initial = arrays.get(inputs[5])
    if initial is not None and np.any(initial != 0):
        raise ValueError(
            f"The GRU node `{name}` has a stored initial state `{inputs[5]}` of shape "
            f"{list(initial.shape)} that is not zero; `layers` cannot hold it."
        )
    return from_onnx(*stored, linear_before_reset=attributes.get("linear_before_reset", 0))


def _check_attributes(name: str, attributes: dict[str, Any]) -> None:
    direction = attributes.get("direction", b"forward").decode()
    if direction == "reverse":
        raise ValueError(
            f'The GRU node `{name}` has direction "reverse" alone, which a stack does not '
            "support: pass its weights to `from_onnx`, and run `gru(..., reverse=True)`."
        )
    if attributes.get("clip"):
        raise ValueError(
            f"The GRU node `{name}` has `clip` = {attributes['clip']}; grujax does not clip."
        )
    activations = [a.decode() for a in attributes.get("activations", ())]
    if any(
        a.lower() != expected
        for a, expected in zip(activations, ("sigmoid", "tanh") * 2, strict=False)
    ):
        raise ValueError(
            f"The GRU node `{name}` has the activations {activations}, expected Sigmoid and Tanh."
        )
