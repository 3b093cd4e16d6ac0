"""Keras: `keras.layers.GRU`, its cell, and a `keras.layers.Bidirectional` around it.

Keras packs the gates in the order z, r, n along the columns of `[I, 3H]` matrices. With
`reset_after=True` it has two biases per gate, `[2, 3H]`; `from_keras` adds those of r and z, and
`to_keras` writes zeros for the recurrent ones. With `reset_after=False` it has one, `[3H]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grujax.checks import as_array, check_bool, check_sequence, check_string, describe
from grujax.convert.checks import as_pair, base_of, check_activation, check_class
from grujax.convert.layouts import Layout, Leaf, read_cell, write_cell
from grujax.convert.trees import select
from grujax.layers import Layer
from grujax.params import GRUParams, check_params

_MATRICES = (
    Leaf("kernel", "w_x", "zrn", "I 3H"),
    Leaf("recurrent_kernel", "w_h", "zrn", "H 3H"),
)
KERAS = {
    True: Layout(
        "keras.layers.GRU",
        _MATRICES,
        optional=((Leaf("bias", "b_x b_h", "zrn", "2 3H"),),),
    ),
    False: Layout(
        "keras.layers.GRU",
        _MATRICES,
        optional=((Leaf("bias", "b_x", "zrn", "3H"),),),
        reset_after=False,
    ),
}
_PACKAGES = ("keras", "tf_keras")


def from_keras(
    weights: Any,
    *,
    reset_after: bool | None = None,
    bidirectional: bool | None = None,
    prefix: str = "",
) -> Layer:
    """Converts a Keras GRU layer, or its weights, to `GRUParams`.

    Pass the layer if you have it. It is refused if its parameters alone do not compute what it
    computes. Bare weights do not say everything: not the activations, which must be tanh and
    sigmoid; not `go_backwards`, `stateful` or `merge_mode`, which are no parameters; not a mask,
    which Keras makes of the inputs (see `lengths` in `grujax.gru`); and the form `reset_after` only
    by the shape of the bias. `dropout` and `recurrent_dropout` act in training alone.

    Args:
        weights: a `keras.layers.GRU`, a `GRUCell`, an `RNN` of a `GRUCell`, or a `Bidirectional` of
            one of these; or a model that holds it; or what `layer.get_weights()` returns: the
            kernel `[I, 3H]`, the recurrent kernel `[H, 3H]`, and the bias, which is `[2, 3H]` with
            `reset_after` and `[3H]` without. If there is no bias (`use_bias=False`), it is zero. A
            Bidirectional layer returns the forward layer's weights, then the backward layer's.
        reset_after: the layer's argument of the same name. Needed for bare weights without a bias.
        bidirectional: whether bare weights of two cells are those of a Bidirectional layer. Needed
            if they could also be two layers, one above the other: where I is H.
        prefix: the name of the layer in the model, such as "gru", or "encoder/gru" for a model in
            it.

    Returns:
        `GRUParams`, or a pair (forward, backward) for a Bidirectional layer.

    Raises:
        ValueError: if there is no GRU at `prefix` (the message lists where there are some); a layer
            has other activations, goes backwards, is stateful, merges other than by "concat", or is
            not built; the number of arrays, a shape or a dtype does not match; or bare weights
            could mean two things.

    Example:
        >>> weights = [np.ones((3, 15), "f"), np.ones((5, 15), "f"), np.ones((2, 15), "f")]
        >>> from_keras(weights).w_x.shape
        (3, 3, 5)
    """
    check_string("prefix", prefix)
    reset_after = None if reset_after is None else check_bool("reset_after", reset_after)
    if bidirectional is not None:
        bidirectional = check_bool("bidirectional", bidirectional)
    if isinstance(weights, list | tuple) or not _is_keras(weights):
        if prefix:
            raise ValueError("`prefix` needs a model as `weights`, got bare weights.")
        check_sequence("weights", weights, "arrays, or a Keras layer")
        return _read_weights(weights, reset_after, bidirectional)
    layer = select("weights", weights, "/", prefix, _children, _is_gru)
    cells = _cells_of(layer)
    for name, given, is_so in (
        ("reset_after", reset_after, cells[0].reset_after),
        ("bidirectional", bidirectional, len(cells) == 2),
    ):
        if given not in (None, is_so):
            raise ValueError(f"`{name}` must be {is_so}, as in the layer, or None; got {given}.")
    read = [_read(_weights_of(cell), cell.reset_after) for cell in cells]
    return read[0] if len(read) == 1 else _check_pair(read)


def to_keras(params: Layer) -> list[np.ndarray]:
    """Converts `GRUParams` to the weights of a Keras GRU layer, for `layer.set_weights`.

    With `reset_after=False` Keras has one bias for the candidate: the sum of `b_x[2]` and `b_hn`.

    Args:
        params: `GRUParams`, or a pair (forward, backward) for a Bidirectional layer. The Keras
            layer must have the `reset_after` of `params`.

    Returns:
        `[kernel, recurrent_kernel, bias]` as NumPy arrays, with the shapes given in `from_keras`;
        for a pair, those of both directions.

    Raises:
        ValueError: if a shape does not match, or the directions differ in size or reset form.

    Example:
        >>> import jax
        >>> from grujax import init_gru
        >>> params = init_gru(jax.random.key(0), input_size=3, hidden_size=5)
        >>> [array.shape for array in to_keras(params)]
        [(3, 15), (5, 15), (2, 15)]
    """
    if isinstance(params, GRUParams):
        return _write(params)
    forward, backward = as_pair("params", params)
    weights = _write(forward), _write(backward)
    for name, one, other in zip(("kernel", "recurrent_kernel", "bias"), *weights, strict=True):
        if one.shape != other.shape:
            raise ValueError(
                f"A Bidirectional layer has the same shapes in both directions; `{name}` would "
                f"have shape {list(one.shape)} forward and {list(other.shape)} backward."
            )
    return [*weights[0], *weights[1]]


def _read_weights(
    weights: Sequence[Any], reset_after: bool | None, bidirectional: bool | None
) -> Layer:
    """Reads bare weights; raises ValueError if they could mean two things."""
    if len(weights) not in (4, 6):
        if bidirectional:
            raise ValueError(
                f"`weights` holds {len(weights)} arrays, expected 4 or 6 with `bidirectional=True`."
            )
        return _read(weights, reset_after)
    half = len(weights) // 2
    if bidirectional is False:
        raise ValueError(
            f"`weights` holds {len(weights)} arrays, expected 2 or 3 with `bidirectional=False`: "
            f"convert each layer of a stack alone, `weights[:{half}]` first."
        )
    pair = _check_pair([_read(part, reset_after) for part in (weights[:half], weights[half:])])
    if bidirectional is None and pair[1].input_size == pair[0].hidden_size:
        raise ValueError(
            "`weights` could be those of a Bidirectional layer or of two layers, one above the "
            "other: pass the layer itself, or `bidirectional=True`, or the weights of each layer "
            f"alone, `weights[:{half}]` first."
        )
    return pair


def _read(weights: Sequence[Any], reset_after: bool | None) -> GRUParams:
    if len(weights) not in (2, 3):
        raise ValueError(
            f"`weights` holds {len(weights)} arrays, expected kernel, recurrent_kernel and bias "
            "(which may be missing), or twice these for a Bidirectional layer."
        )
    stored = dict(zip(("kernel", "recurrent_kernel", "bias"), weights, strict=False))
    if reset_after is None:
        if "bias" not in stored:
            raise ValueError(
                "`weights` without a bias could be of either form: pass the layer itself, or its "
                "`reset_after` (True by default in Keras)."
            )
        reset_after = as_array("bias", stored["bias"]).ndim != 1
    return read_cell(KERAS[reset_after], stored)


def _check_pair(pair: Sequence[GRUParams]) -> tuple[GRUParams, GRUParams]:
    """The two directions of a layer; raises ValueError if they read different inputs."""
    forward, backward = pair
    if forward.input_size != backward.input_size:
        raise ValueError(
            f"The two `kernel`s of `weights` have {forward.input_size} and {backward.input_size} "
            "rows, but both directions read the same inputs. Convert each layer of a stack alone."
        )
    return forward, backward


def _write(params: GRUParams) -> list[np.ndarray]:
    check_params(params)
    return [np.array(array) for array in write_cell(KERAS[params.reset_after], params).values()]


# --- layers ---------------------------------------------------------------------------------------


def _kind(layer: Any, *names: str) -> bool:
    """Whether an object is of a Keras class of one of these names."""
    return any(base_of(layer, package, name) for package in _PACKAGES for name in names)


def _is_keras(value: Any) -> bool:
    return _kind(value, "Layer", "Model")


def _is_gru(layer: Any) -> bool:
    """Whether a layer is a GRU in one direction or in both, or its cell."""
    if _kind(layer, "Bidirectional"):
        return all(map(_is_gru, (layer.forward_layer, layer.backward_layer)))
    return _kind(layer, "GRU", "GRUCell") or (_kind(layer, "RNN") and _kind(layer.cell, "GRUCell"))


def _children(layer: Any) -> Mapping[str, Any] | None:
    """The layers of a model by name; None for a layer."""
    if not _kind(layer, "Model"):
        return None
    return {inner.name: inner for inner in layer.layers}


def _cells_of(layer: Any) -> list[Any]:
    """The cells of both directions or of one; raises ValueError if the layer does more."""
    if not _kind(layer, "Bidirectional"):
        return [_cell_of(layer, goes_backwards=False)]
    if layer.merge_mode != "concat":
        raise _refuse(layer, "merge_mode", "pass `merge` to `bidirectional_gru`")
    return [_cell_of(layer.forward_layer, False), _cell_of(layer.backward_layer, True)]


def _cell_of(layer: Any, goes_backwards: bool) -> Any:
    """The cell of a layer in one direction; raises ValueError if it is no plain GRU."""
    package = next(name for name in _PACKAGES if base_of(layer, name, "Layer"))
    cell = layer
    if not _kind(layer, "GRUCell"):
        check_class("weights", layer, package, "GRU" if _kind(layer, "GRU") else "RNN", "call")
        if layer.go_backwards != goes_backwards:
            raise _refuse(layer, "go_backwards", "pass `reverse` to `gru`")
        if layer.stateful:
            raise _refuse(layer, "stateful", "pass its state to `gru` as `h0`")
        cell = layer.cell
    check_class("weights", cell, package, "GRUCell", "call")
    for name, expected in (("activation", jnp.tanh), ("recurrent_activation", jax.nn.sigmoid)):
        check_activation(f"{layer.name}.{name}", getattr(cell, name), expected)
    return cell


def _refuse(layer: Any, option: str, instead: str) -> ValueError:
    """The error for an option that parameters do not hold."""
    return ValueError(
        f"`weights` must be a layer that its parameters describe, but {layer.name} has `{option}` "
        f"= {getattr(layer, option)!r}: convert `layer.get_weights()`, and {instead}."
    )


def _weights_of(cell: Any) -> list[np.ndarray]:
    """The arrays of a cell; raises ValueError if there are not as many as it says."""
    weights = cell.get_weights()
    if not weights:
        raise ValueError(f"`weights` must be a layer that is built, got {describe(cell)} without.")
    if len(weights) != 2 + cell.use_bias:
        raise ValueError(
            f"`weights` must be a layer with {2 + cell.use_bias} arrays, because it has `use_bias` "
            f"= {cell.use_bias}, got {len(weights)}."
        )
    return weights
