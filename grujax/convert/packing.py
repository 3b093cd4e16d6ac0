"""Gates packed along one axis, in a framework's order and with its biases.

`GRUParams` stores the gates r, z, n on a leading axis of three. Frameworks concatenate them, in an
order of their own, and some have two biases per gate or write 1 − z for z.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from grujax.params import GRUParams

GATES = "rzn"  # the order in `GRUParams`


class PackedWeights(NamedTuple):
    """A GRU with packed gates and two biases per gate, as PyTorch, Keras and ONNX store it."""

    w_x: Array  # [I, 3H]
    w_h: Array  # [H, 3H]
    b_x: Array  # [3H], the input biases
    b_h: Array  # [3H], the recurrent biases


def split_gates(packed: Array, order: str = GATES) -> Array:
    """Unpacks `[..., 3H]`, whose gates are in a framework's `order`, to `[3, ..., H]`."""
    gates = jnp.split(packed, 3, axis=-1)
    return jnp.stack([gates[order.index(gate)] for gate in GATES])


def join_gates(gates: Array, order: str = GATES) -> Array:
    """Packs `[3, ..., H]` to `[..., 3H]` with the gates in a framework's `order`."""
    return jnp.concatenate([gates[GATES.index(gate)] for gate in order], axis=-1)


def unpack_weights(
    packed: PackedWeights, order: str = GATES, *, reset_after: bool = True
) -> GRUParams:
    """Converts packed weights to `GRUParams`; adds the two biases of r and z."""
    w_x, w_h, b_x, b_h = (split_gates(array, order) for array in packed)
    return GRUParams(
        w_x=w_x, w_h=w_h, b_x=b_x.at[:2].add(b_h[:2]), b_hn=b_h[2], reset_after=reset_after
    )


def pack_weights(params: GRUParams, order: str = GATES) -> PackedWeights:
    """Converts `GRUParams` to packed weights; the recurrent biases of r and z are zero."""
    b_h = jnp.zeros_like(params.b_x).at[2].set(params.b_hn)
    leaves = params.w_x, params.w_h, params.b_x, b_h
    return PackedWeights(*(join_gates(gates, order) for gates in leaves))
