"""The gates from projected inputs: what both passes of the scan evaluate."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax.cell import matmul
from grujax.params import GRUParams

Projected = tuple[Array, Array, Array]  # the inputs' part of r, z, n, each [..., B, H]


class Gates(NamedTuple):
    """The gates of one step or several, each `[..., B, H]`, in at least float32."""

    reset: Array
    update: Array  # without zoneout
    candidate: Array
    product: Array | None  # h·Whn + bhn, with reset_after


def gates_of(params: GRUParams) -> Callable[[Array, Projected], Gates]:
    """The function `(h, projected) -> Gates`, for `h [..., B, H]` as the gates see it.

    All gates' recurrent matrices lie side by side in one matmul. The projected inputs are an
    operand a gate: slicing a packed one inside a loop would defeat XLA's CPU vectoriser.
    """
    return _gates_after(params) if params.reset_after else _gates_before(params)


def _gates_after(params: GRUParams) -> Callable[[Array, Projected], Gates]:
    w_h = pack_gates(params.w_h)

    def evaluate(h: Array, projected: Projected) -> Gates:
        x_r, x_z, x_n = projected
        h_r, h_z, h_n = jnp.split(matmul(h, w_h), 3, axis=-1)
        reset, update = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        product = h_n + params.b_hn
        return Gates(reset, update, jnp.tanh(x_n + reset * product), product)

    return evaluate


def _gates_before(params: GRUParams) -> Callable[[Array, Projected], Gates]:
    w_rz, w_hn = pack_gates(params.w_h[:2]), params.w_h[2]

    def evaluate(h: Array, projected: Projected) -> Gates:
        x_r, x_z, x_n = projected
        h_r, h_z = jnp.split(matmul(h, w_rz), 2, axis=-1)
        reset, update = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        candidate = jnp.tanh(x_n + matmul((reset * h).astype(h.dtype), w_hn) + params.b_hn)
        return Gates(reset, update, candidate, None)

    return evaluate


def pack_gates(gates: Array) -> Array:
    """`[G, N, H] -> [N, G·H]`: several gates' matrices side by side, for one matmul."""
    return jnp.concatenate(tuple(gates), axis=-1)
