"""The programs of the kernels for TPUs: a block of time and a tile of rows; arrays are references.

What does not depend on the state, or on the adjoint, is computed outside, except for the factors of
the gradient, which cost less as arithmetic here than as memory traffic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl

from grujax.cell import evaluate_gates, update_state
from grujax.implementations.scan.adjoint import drop_gradient, update_factors
from grujax.implementations.types import GateResiduals, StepMasks


def forward_kernel(
    reset_after: bool,
    backwards: bool,
    in_time: Any,
    of_rows: Any,
    whole: Any,
    out_in_time: Any,
    h_last: Any,
) -> None:
    """The forward pass of a block of time and a tile of rows; the refs are those of `launch`."""
    projected, restart = in_time
    h0, reset_state, dropout_mask = of_rows
    w_h, b_hn, zoneout_rate = whole
    hs, kept = out_in_time
    length, _, units = hs.shape
    masks = StepMasks(recurrent_dropout_mask=_read(dropout_mask), zoneout_rate=_read(zoneout_rate))

    def split(array: Array) -> list[Array]:
        return jnp.split(array, array.shape[-1] // units, axis=-1)

    def multiply(states: Array, begin: int, end: int) -> list[Array]:
        blocks = [(0, 2), (2, 3)] if (begin, end) == (0, 3) else [(begin, end)]
        products = [_matmul(states, w_h[:, b * units : e * units]) for b, e in blocks]
        return [product for block in products for product in split(block)]

    @pl.when(pl.program_id(1) == 0)
    def _begin() -> None:
        h_last[...] = h0[...]

    def step(t: Array) -> None:
        h = h_last[...].astype(jnp.float32)
        if restart is not None:
            h = jnp.where(restart[t] != 0, reset_state[...].astype(jnp.float32), h)
        seen = masks.apply_recurrent_dropout(h).astype(w_h.dtype)
        x_r, x_z, x_n = split(projected[t])
        gates, product = evaluate_gates((x_r, x_z, x_n), seen, b_hn[...], multiply, reset_after)
        # Exactly 1 where the state is carried, however a TPU rounds the logistic function.
        update = jnp.where(x_z == jnp.inf, 1, gates.update)
        if kept is not None:
            residuals = GateResiduals(gates.reset, update, gates.candidate, product)
            for reference, gate in zip(
                jax.tree.leaves(kept), jax.tree.leaves(residuals), strict=True
            ):
                reference[t] = gate
        new_h = update_state(masks.apply_zoneout(update), gates.candidate, h)
        h_last[...] = hs[t] = new_h.astype(hs.dtype)

    _for_each_step(length, backwards, step)


def backward_kernel(
    reset_after: bool,
    backwards: bool,
    in_time: Any,
    of_rows: Any,
    whole: Any,
    d_gates: Any,
    out_of_rows: Any,
) -> None:
    """The backward pass of a block of time and a tile of rows; the refs are those of `launch`."""
    before, gates, d_hs, restart = in_time
    d_last, dropout_mask = of_rows
    w_h_t, zoneout_rate = whole
    d_h, d_reset = out_of_rows
    length, _, units = before.shape
    masks = StepMasks(zoneout_rate=_read(zoneout_rate), recurrent_dropout_mask=_read(dropout_mask))

    @pl.when(pl.program_id(1) == 0)
    def _begin() -> None:
        d_h[...] = d_last[...]
        if d_reset is not None:
            d_reset[...] = jnp.zeros_like(d_reset)

    def step(t: Array) -> None:
        h = before[t].astype(jnp.float32)
        gates_at_t = jax.tree.map(lambda gate: gate[t], gates)
        reset = gates_at_t.reset
        u, to_n, to_z = update_factors(gates_at_t, h, masks)
        adjoint = d_h[...] + d_hs[t].astype(jnp.float32)
        d_n, d_z = adjoint * to_n, adjoint * to_z
        if reset_after:
            d_c = d_n * reset
            d_r = d_c * gates_at_t.product * (1 - reset)
            d_seen = _matmul(jnp.concatenate([d_r, d_z, d_c], -1), w_h_t[...])
        else:
            q = _matmul(d_n, w_h_t[2 * units :])
            d_r = q * masks.apply_recurrent_dropout(h) * reset * (1 - reset)
            d_seen = q * reset + _matmul(jnp.concatenate([d_r, d_z], -1), w_h_t[: 2 * units])
        of_gates = ([d_c] if reset_after else []) + [d_r, d_z, d_n]
        d_gates[t] = jnp.concatenate(of_gates, -1).astype(d_gates.dtype)
        d_before = adjoint * u + drop_gradient(d_seen, masks)
        if restart is not None:
            was_set = restart[t] != 0
            d_reset[...] += jnp.where(was_set, d_before, 0)
            d_before = jnp.where(was_set, 0, d_before)
        d_h[...] = d_before

    _for_each_step(length, backwards, step)


def _read(reference: Any) -> Array | None:
    return None if reference is None else reference[...]


def _for_each_step(length: int, backwards: bool, step: Callable[[Array], None]) -> None:
    def body(index: Array, carry: None) -> None:
        step(length - 1 - index if backwards else index)

    lax.fori_loop(0, length, body, None)


def _matmul(x: Array, w: Array) -> Array:
    """`x·w` in the dtype of the weights, accumulated in float32."""
    precision = lax.Precision.HIGHEST if w.dtype == jnp.float32 else lax.Precision.DEFAULT
    return jnp.matmul(x.astype(w.dtype), w, precision=precision, preferred_element_type=jnp.float32)
