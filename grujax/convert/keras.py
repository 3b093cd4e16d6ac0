"""Keras: `keras.layers.GRU` and a `keras.layers.Bidirectional` around it.

Keras packs the gates in the order z, r, n along the columns of `[I, 3H]` matrices. With
`reset_after=True` it has two biases per gate, `[2, 3H]`; `from_keras` adds those of r and z, and
`to_keras` writes zeros for the recurrent ones. With `reset_after=False` it has one, `[3H]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from grujax.checks import check_bool, check_sequence
from grujax.convert.checks import as_jax, as_pair, read_array
from grujax.convert.packing import (
    PackedWeights,
    join_gates,
    merge_candidate_biases,
    pack_weights,
    unpack_weights,
)
from grujax.layers import Layer
from grujax.params import GRUParams, check_params

_ORDER = "zrn"


def from_keras(weights: Sequence[Any], *, reset_after: bool = True) -> Layer:
    """Converts the weights of a Keras GRU layer to `GRUParams`.

    Args:
        weights: what `layer.get_weights()` returns: the kernel `[I, 3H]`, the recurrent kernel
            `[H, 3H]`, and the bias, which is `[2, 3H]` with `reset_after` and `[3H]` without.
            If there is no bias (`use_bias=False`), it is zero. A Bidirectional layer returns the
            forward layer's weights, then the backward layer's.
        reset_after: the layer's argument of the same name; the weights do not contain it.

    Returns:
        `GRUParams`, or a pair (forward, backward) for a Bidirectional layer.

    Raises:
        ValueError: if the number of arrays, a shape or a dtype does not match.

    Example:
        >>> weights = [np.ones((3, 15), "f"), np.ones((5, 15), "f"), np.ones((2, 15), "f")]
        >>> from_keras(weights).w_x.shape
        (3, 3, 5)
    """
    reset_after = check_bool("reset_after", reset_after)
    check_sequence("weights", weights, "arrays")
    if len(weights) in (4, 6):
        half = len(weights) // 2
        return _read(weights[:half], reset_after), _read(weights[half:], reset_after)
    return _read(weights, reset_after)


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


def _read(weights: Sequence[Any], reset_after: bool) -> GRUParams:
    if len(weights) not in (2, 3):
        raise ValueError(
            f"`weights` holds {len(weights)} arrays, expected kernel, recurrent_kernel and bias "
            "(which may be missing), or twice these for a Bidirectional layer."
        )
    w_h = read_array("recurrent_kernel", weights[1], "H 3H")
    hidden_size = w_h.shape[0]
    w_x = read_array("kernel", weights[0], "I 3H", H=hidden_size)
    b_x = b_h = jnp.zeros(3 * hidden_size, w_h.dtype)
    if len(weights) == 3 and reset_after:
        b_x, b_h = read_array("bias", weights[2], "2 3H", H=hidden_size)
    elif len(weights) == 3:
        b_x = read_array("bias", weights[2], "3H", H=hidden_size)
    return unpack_weights(PackedWeights(w_x, w_h, b_x, b_h), _ORDER, reset_after=reset_after)


def _write(params: GRUParams) -> list[np.ndarray]:
    check_params(params)
    params = as_jax(params)
    w_x, w_h, b_x, b_h = pack_weights(params, _ORDER)
    if params.reset_after:
        bias = jnp.stack([b_x, b_h])
    else:
        bias = join_gates(merge_candidate_biases(params), _ORDER)
    return [np.array(array) for array in (w_x, w_h, bias)]
