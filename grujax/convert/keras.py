"""Keras: `keras.layers.GRU` and a `keras.layers.Bidirectional` of it.

Keras packs the gates in the order z, r, n along the columns of `[I, 3H]` matrices. With
`reset_after=True` it has two biases for each gate, `[2, 3H]`; those of r and z are added here, and
on the way back the second one is zero. With `reset_after=False` it has one, `[3H]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grujax.convert.packing import as_pair, join_gates, read_array, split_gates
from grujax.layers import Layer
from grujax.params import GRUParams, check_params

_ORDER = "zrn"


def from_keras(weights: Sequence[Any], *, reset_after: bool = True) -> Layer:
    """The parameters of a Keras GRU layer.

    Args:
        weights: what `layer.get_weights()` returns: the kernel `[I, 3H]`, the recurrent kernel
            `[H, 3H]`, and the bias, `[2, 3H]` with `reset_after`, else `[3H]`; without one
            (`use_bias=False`) it is zero. A Bidirectional layer returns the forward layer's
            weights and then the backward layer's.
        reset_after: the layer's own argument of this name, which its weights do not tell.

    Returns:
        `GRUParams`, or a pair (forward, backward) for a Bidirectional layer.

    Raises:
        ValueError: if the number of arrays, or the shape or dtype of one, does not fit.

    Example:
        >>> weights = [np.ones((3, 15), "f"), np.ones((5, 15), "f"), np.ones((2, 15), "f")]
        >>> from_keras(weights).w_x.shape
        (3, 3, 5)
    """
    if len(weights) in (4, 6):
        half = len(weights) // 2
        return _read(weights[:half], reset_after), _read(weights[half:], reset_after)
    return _read(weights, reset_after)


def to_keras(params: Layer) -> list[np.ndarray]:
    """The weights of a Keras GRU layer, for `layer.set_weights`.

    With `reset_after=False` Keras has one bias for the candidate: the sum of ours.

    Args:
        params: `GRUParams`; or a pair (forward, backward), for a Bidirectional layer. Give the
            Keras layer the `reset_after` of `params`.

    Returns:
        `[kernel, recurrent_kernel, bias]` as NumPy arrays, see `from_keras`; both directions' for
        a pair.

    Raises:
        ValueError: if a shape does not fit, or the two directions differ in size or form.
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
    b_x = b_h = jnp.zeros((3, hidden_size), w_h.dtype)
    if len(weights) == 3 and reset_after:
        biases = read_array("bias", weights[2], "2 3H", H=hidden_size)
        b_x, b_h = (split_gates(bias, _ORDER) for bias in biases)
    elif len(weights) == 3:
        b_x = split_gates(read_array("bias", weights[2], "3H", H=hidden_size), _ORDER)
    return GRUParams(
        w_x=split_gates(w_x, _ORDER),
        w_h=split_gates(w_h, _ORDER),
        b_x=b_x.at[:2].add(b_h[:2]),
        b_hn=b_h[2],
        reset_after=reset_after,
    )


def _write(params: GRUParams) -> list[np.ndarray]:
    check_params(params)
    params = jax.tree.map(jnp.asarray, params)
    if params.reset_after:
        b_h = jnp.zeros_like(params.b_x).at[2].set(params.b_hn)
        bias = jnp.stack([join_gates(params.b_x, _ORDER), join_gates(b_h, _ORDER)])
    else:
        bias = join_gates(params.b_x.at[2].add(params.b_hn), _ORDER)
    kernels = join_gates(params.w_x, _ORDER), join_gates(params.w_h, _ORDER)
    return [np.array(array) for array in (*kernels, bias)]
