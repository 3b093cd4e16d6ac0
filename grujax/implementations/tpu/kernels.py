"""A program of each walk for TPUs: a block of time, a tile of rows; arrays are references here.

What does not depend on the state, or on the adjoint, is computed outside; but for the factors of
the gradient, which cost less arithmetic here than they would cost memory there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl

from grujax.cell import GRUGates, update_state
from grujax.implementations.gates import Gates
from grujax.implementations.scan.backward import of_state, update_factors
from grujax.implementations.types import Masks


def states_kernel(
    reset_after: bool,
    backwards: bool,
    in_time: Any,
    of_rows: Any,
    whole: Any,
    out_in_time: Any,
    h_last: Any,
) -> None:
    projected, starts = in_time
    h0, reset_state, scale = of_rows
    w_h, b_hn, zoneout = whole
    hs, kept = out_in_time
    length, _, units = hs.shape
    r, z, n = (slice(gate * units, (gate + 1) * units) for gate in range(3))
    masks = Masks(scale=_read(scale), zoneout=_read(zoneout))

    @pl.when(pl.program_id(1) == 0)
    def _begin() -> None:
        h_last[...] = h0[...]

    def step(t: Array) -> None:
        h = h_last[...].astype(jnp.float32)
        if starts is not None:
            h = jnp.where(starts[t] != 0, reset_state[...].astype(jnp.float32), h)
        seen = masks.seen(h).astype(w_h.dtype)
        x_z = projected[t, :, z]
        of_rz = _matmul(seen, w_h[:, : 2 * units])
        reset = jax.nn.sigmoid(projected[t, :, r] + of_rz[:, r])
        # Exactly 1 where the state is kept, however a TPU rounds the logistic function.
        update = jnp.where(x_z == jnp.inf, 1, jax.nn.sigmoid(x_z + of_rz[:, z]))
        product = _matmul(seen if reset_after else reset * seen, w_h[:, n]) + b_hn[...]
        candidate = jnp.tanh(projected[t, :, n] + (reset * product if reset_after else product))
        if kept is not None:
            gates = Gates(reset, update, candidate, product if reset_after else None)
            for reference, gate in zip(jax.tree.leaves(kept), jax.tree.leaves(gates), strict=True):
                reference[t] = gate
        used = GRUGates(reset, masks.expected_update(update), candidate)
        h_last[...] = hs[t] = update_state(used, h).astype(hs.dtype)

    _for_each_step(length, backwards, step)


def adjoints_kernel(
    reset_after: bool,
    backwards: bool,
    in_time: Any,
    of_rows: Any,
    whole: Any,
    d_gates: Any,
    out_of_rows: Any,
) -> None:
    before, gates, d_hs, starts = in_time
    d_last, scale = of_rows
    w_h_t, zoneout = whole
    d_h, d_reset = out_of_rows
    length, _, units = before.shape
    masks = Masks(zoneout=_read(zoneout), scale=_read(scale))

    @pl.when(pl.program_id(1) == 0)
    def _begin() -> None:
        d_h[...] = d_last[...]
        if d_reset is not None:
            d_reset[...] = jnp.zeros_like(d_reset)

    def step(t: Array) -> None:
        h = before[t].astype(jnp.float32)
        at_t = jax.tree.map(lambda gate: gate[t], gates)
        reset = at_t.reset
        u, to_n, to_z = update_factors(at_t, h, masks)
        adjoint = d_h[...] + d_hs[t].astype(jnp.float32)
        d_n, d_z = adjoint * to_n, adjoint * to_z
        if reset_after:
            d_c = d_n * reset
            d_r = d_c * at_t.product * (1 - reset)
            d_seen = _matmul(jnp.concatenate([d_r, d_z, d_c], -1), w_h_t[...])
        else:
            q = _matmul(d_n, w_h_t[2 * units :])
            d_r = q * masks.seen(h) * reset * (1 - reset)
            d_seen = q * reset + _matmul(jnp.concatenate([d_r, d_z], -1), w_h_t[: 2 * units])
        of_gates = ([d_c] if reset_after else []) + [d_r, d_z, d_n]
        d_gates[t] = jnp.concatenate(of_gates, -1).astype(d_gates.dtype)
        d_before = adjoint * u + of_state(d_seen, masks)
        if starts is not None:
            was_set = starts[t] != 0
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
    """`x·w` in the dtype of the weights, summed in float32."""
    precision = lax.Precision.HIGHEST if w.dtype == jnp.float32 else lax.Precision.DEFAULT
    return jnp.matmul(x.astype(w.dtype), w, precision=precision, preferred_element_type=jnp.float32)
