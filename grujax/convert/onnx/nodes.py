"""One GRU node: its attributes, its inputs, and its layer."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from grujax.convert.checks import quote, require
from grujax.convert.onnx.constants import Constants
from grujax.convert.onnx.graph import Graph, first_output, label
from grujax.convert.onnx.shapes import TensorType
from grujax.convert.onnx.weights import from_onnx
from grujax.layers import Layer

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h")
_DIRECTIONS = {"forward": 1, "bidirectional": 2}


class GRUNode(NamedTuple):
    """A GRU node whose attributes are those of a layer of `stacked_gru`."""

    name: str
    inputs: dict[str, str]  # the name in `INPUTS` -> the tensor; absent if the node has none
    outputs: tuple[str, str]  # Y and Y_h, "" if the node has none
    num_directions: int  # D
    hidden_size: int | None  # H, if the node states it
    reset_after: int
    batch_major: bool

    @property
    def axes(self) -> dict[str, str]:
        """The axes of the inputs that the file does not store."""
        state = "B D H" if self.batch_major else "D B H"
        return {
            "X": "B T I" if self.batch_major else "T B I",
            "sequence_lens": "B",
            "initial_h": state,
        }


def find_nodes(graph: Graph) -> dict[str, Any]:
    """The GRU nodes of the main graph, by name, or by first output where there is no name."""
    nodes = [node for node in graph.nodes if graph.operator(node) == "GRU"]
    if not all(map(first_output, nodes)):
        raise ValueError(f"`{graph.path}` has a GRU node without outputs.")
    repeated = [name for name, count in Counter(map(label, nodes)).items() if count > 1]
    if repeated:
        raise ValueError(f"`{graph.path}` has several GRU nodes named {quote(repeated)}.")
    return {label(node): node for node in nodes}


def parse_node(graph: Graph, name: str, node: Any) -> GRUNode:
    """Reads the attributes of a GRU node; raises ValueError for what `stacked_gru` lacks."""
    inputs = dict(zip(INPUTS, node.input, strict=False))
    inputs = {kind: tensor for kind, tensor in inputs.items() if tensor}
    missing = [kind for kind in INPUTS[:3] if kind not in inputs]
    if missing or len(node.input) > len(INPUTS):
        raise ValueError(
            f"The GRU node `{name}` must have the inputs X, W, R, and at most 6, got "
            f"{len(node.input)} inputs without {quote(missing)}."
        )
    attributes = _read_attributes(graph, name, node)
    num_directions = _check_direction(name, attributes.get("direction", "forward"))
    _check_activations(name, attributes, num_directions)
    for switch in ("layout", "linear_before_reset"):
        if attributes.get(switch, 0) not in (0, 1):
            raise ValueError(
                f"The GRU node `{name}` has `{switch}` = {attributes[switch]}, expected 0 or 1."
            )
    outputs = [*node.output, "", ""]
    return GRUNode(
        name=name,
        inputs=inputs,
        outputs=(outputs[0], outputs[1]),
        num_directions=num_directions,
        hidden_size=attributes.get("hidden_size"),
        reset_after=attributes.get("linear_before_reset", 0),
        batch_major=attributes.get("layout", 0) == 1,
    )


def read_layer(node: GRUNode, constants: Constants, types: dict[str, TensorType]) -> Layer:
    """The layer of a node.

    Raises:
        ValueError: if the file does not store a weight, or stores lengths, or a state other than
            zero; or if the shapes or dtypes of the node's inputs contradict each other.
    """
    arrays = {kind: _read_weight(node, kind, constants) for kind in "WRB"}
    weights = {kind: array for kind, array in arrays.items() if array is not None}
    dtypes = {array.dtype for array in weights.values()}
    if len(dtypes) > 1:
        got = ", ".join(f"{kind} {array.dtype}" for kind, array in weights.items())
        raise ValueError(f"The GRU node `{node.name}` must have weights of one dtype, got {got}.")
    try:
        layer = from_onnx(**weights, linear_before_reset=node.reset_after)
    except ValueError as error:
        raise ValueError(f"The GRU node `{node.name}` has unfit weights: {error}") from None
    num_directions, _, hidden_size = weights["R"].shape
    if num_directions != node.num_directions or node.hidden_size not in (None, hidden_size):
        raise ValueError(
            f"The GRU node `{node.name}` has {node.num_directions} directions and `hidden_size` = "
            f"{node.hidden_size}; `R` of shape {list(weights['R'].shape)} contradicts that, "
            "expected [D, 3H, H]."
        )
    sizes = {"D": num_directions, "H": hidden_size, "I": weights["W"].shape[2]}
    _check_types(node, types, dtypes.pop(), sizes)
    _check_stored_arguments(node, constants)
    return layer


def _read_attributes(graph: Graph, name: str, node: Any) -> dict[str, Any]:
    """The attributes by name; raises ValueError for those that the operator lacks."""
    onnx = require("onnx")
    known = onnx.defs.get_schema("GRU", graph.opset).attributes
    attributes = {}
    for attribute in node.attribute:
        if attribute.name not in known:
            raise ValueError(
                f"The GRU node `{name}` has the attribute {quote([attribute.name])}, which the "
                f"operator lacks in opset {graph.opset}; it has {quote(sorted(known))}."
            )
        wanted = known[attribute.name].type.name
        if attribute.type != onnx.AttributeProto.AttributeType.Value(wanted):
            raise ValueError(
                f"The attribute `{attribute.name}` of the GRU node `{name}` must have the type "
                f"{wanted}."
            )
        if attribute.name in attributes:
            raise ValueError(f"The GRU node `{name}` has `{attribute.name}` more than once.")
        attributes[attribute.name] = _decode(onnx.helper.get_attribute_value(attribute))
    return attributes


def _decode(value: Any) -> Any:
    """The value of an attribute, with strings in place of bytes."""
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _check_direction(name: str, direction: str) -> int:
    if direction == "reverse":
        raise ValueError(
            f'The GRU node `{name}` has direction "reverse" alone, which a stack does not '
            "support: pass its weights to `from_onnx`, and run `gru(..., reverse=True)`."
        )
    if direction not in _DIRECTIONS:
        raise ValueError(
            f'The GRU node `{name}` must have the direction "forward", "reverse" or '
            f'"bidirectional", got {direction[:60]!r}.'
        )
    return _DIRECTIONS[direction]


def _check_activations(name: str, attributes: dict[str, Any], num_directions: int) -> None:
    if "clip" in attributes:
        raise ValueError(
            f"The GRU node `{name}` has `clip` = {attributes['clip']:g}; grujax does not clip."
        )
    activations = attributes.get("activations") or ["Sigmoid", "Tanh"] * num_directions
    if [item.lower() for item in activations] != ["sigmoid", "tanh"] * num_directions:
        raise ValueError(
            f"The GRU node `{name}` has the activations {quote(activations)}, expected Sigmoid and "
            "Tanh for each direction."
        )
    for parameter in ("activation_alpha", "activation_beta"):
        if len(attributes.get(parameter, ())):
            raise ValueError(
                f"The GRU node `{name}` has `{parameter}`, which Sigmoid and Tanh do not take: "
                "remove it."
            )


def _read_weight(node: GRUNode, kind: str, constants: Constants) -> np.ndarray | None:
    if kind not in node.inputs:
        return None
    try:
        return constants.value(node.inputs[kind])
    except ValueError as error:
        raise ValueError(
            f"`{kind}` of the GRU node `{node.name}` must be stored in the file, got "
            f"{quote([node.inputs[kind]])}, which is not: {str(error).rstrip('.')}. Fold the "
            "constants of the file first."
        ) from error


def _check_types(
    node: GRUNode, types: dict[str, TensorType], dtype: np.dtype, sizes: dict[str, int]
) -> None:
    """Raises ValueError if X, the lengths or the state are known not to fit the weights."""
    found: dict[str, Any] = dict(sizes)
    for kind, axes in node.axes.items():
        known = types.get(node.inputs.get(kind, ""))
        if known is None or known.dtype is None:
            continue
        wanted = np.dtype("int32") if kind == "sequence_lens" else dtype
        letters = axes.split()
        fits = known.sizes is None or len(known.sizes) == len(letters)
        for letter, size in zip(letters, known.sizes or (), strict=False):
            if isinstance(size, int):
                fits = fits and found.setdefault(letter, size) == size
        if known.dtype != wanted or not fits:
            shape = "" if known.sizes is None else f" {list(known.sizes)}"
            stated = ", ".join(f"{letter} = {size}" for letter, size in found.items())
            raise ValueError(
                f"`{kind}` of the GRU node `{node.name}` is {known.dtype}{shape}, "
                f"expected {wanted} [{', '.join(letters)}] with {stated}."
            )


def _check_stored_arguments(node: GRUNode, constants: Constants) -> None:
    """Raises ValueError for lengths and states that the file determines: a layer has none."""
    lengths, state = node.inputs.get("sequence_lens"), node.inputs.get("initial_h")
    if lengths and not constants.is_argument(lengths):
        raise ValueError(
            f"The GRU node `{node.name}` has lengths {quote([lengths])} that the file stores or "
            "computes, and that are not known to be all T; `layers` cannot hold them. Remove this "
            "input of the node, and pass `lengths` to `stacked_gru`."
        )
    if state and not constants.is_argument(state) and not constants.is_zero(state):
        raise ValueError(
            f"The GRU node `{node.name}` has an initial state {quote([state])} that the file "
            "stores, and that is not known to be zero; `layers` cannot hold it. Remove this input "
            "of the node, and pass the state as `h0` to `stacked_gru`."
        )
