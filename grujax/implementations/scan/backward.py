"""The hand-derived gradient of the scan; the derivation stands in `grujax.implementations.scan.forward`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import matmul
from grujax.implementations.gates import Gates, gates_of, pack_gates
from grujax.implementations.passes import Inputs, Kept
from grujax.implementations.scan.chunks import (
    Chunk,
    Chunks,
    cut_time,
    prepare_chunk,
    slice_steps,
    write_steps,
)
from grujax.implementations.types import Masks, where_exists
from grujax.params import GRUParams


def backward(
    kept: Kept,
    d_last: Array,  # [B, H]
    d_hs: Array,  # [T, B, H]
    *,
    reverse: bool,
) -> Inputs:
    """The gradient with respect to the inputs; walks time against the forward pass."""
    inputs, masks, hs, _ = kept
    params, xs, h0, reset_state = inputs
    steps, batch, _ = xs.shape
    chunks = cut_time(steps, batch, not reverse)
    dtype = jnp.promote_types(hs.dtype, jnp.float32)
    factory = _differentiate_after if params.reset_after else _differentiate_before
    differentiate = factory(params, masks, dtype, reverse)
    gates_of_chunk = _gates_of_chunk(kept, chunks)
    w_x_t = [w.T for w in params.w_x.astype(dtype)]  # three [H, I]

    def body(index, carry):
        adjoint, d_reset, d_xs, sums = carry
        chunk = prepare_chunk(chunks, index, xs, masks)
        exists, starts = chunk.masks.exists, chunk.masks.starts
        h_after, d_here = slice_steps(chunk.begin, chunks.length, (hs, d_hs))
        h = _states_before(h_after, hs, h0, chunk.begin, reverse)
        if starts is not None:
            h = jnp.where(starts[..., None], reset_state, h)
        seen = masks.seen(h)
        gates = gates_of_chunk(index, chunk, seen)
        d_here = where_exists(exists, d_here).astype(dtype)

        states = _States(h, seen, d_here, starts)
        (adjoint, d_reset), of_gates = differentiate(gates, states, (adjoint, d_reset))
        sums = jax.tree.map(jnp.add, sums, _sums_over_chunk(chunk.x.astype(dtype), of_gates))
        d_r, d_z, d_n = (matmul(d, w_t) for d, w_t in zip(of_gates.d_x, w_x_t, strict=True))
        return adjoint, d_reset, write_steps(chunk.begin, d_xs, d_r + d_z + d_n), sums

    zeros = jax.tree.map(lambda w: jnp.zeros(w.shape, dtype), params)
    sums = _Sums(tuple(zeros.w_x), tuple(zeros.w_h), tuple(zeros.b_x), zeros.b_hn)
    start = (d_last.astype(dtype), jnp.zeros(h0.shape, dtype), jnp.zeros_like(xs), sums)
    d_h0, d_reset, d_xs, sums = chunks.walk(body, start)
    d_params = GRUParams(
        w_x=jnp.stack(sums.w_x),
        w_h=jnp.stack(sums.w_h),
        b_x=jnp.stack(sums.b_x),
        b_hn=sums.b_hn,
        reset_after=params.reset_after,
    )
    gradient = Inputs(d_params, d_xs, d_h0, d_reset)
    return jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, inputs)


class _States(NamedTuple):
    """A chunk's states before its steps, and what comes in from behind them."""

    h: Array  # [K, B, H]
    seen: Array  # [K, B, H], the same as the gates see them
    d_hs: Array  # [K, B, H]
    starts: Array | None  # [K, B] bool


class _GateGradients(NamedTuple):
    """A chunk's gradients with respect to the gates' two operands, in the order r, z, n."""

    d_x: tuple[Array, Array, Array]  # of the projected inputs: δr, δz, δn, each [K, B, H]
    d_h: tuple[Array, Array, Array]  # of the products with Wh: δr, δz, and δc or δn
    h: tuple[Array, Array, Array]  # what Wh was multiplied with: h, h, and h or r ∘ h


# (gates, states, (adjoint, d_reset)) -> (adjoint, d_reset), gate gradients
_Differentiate = Callable[
    [Gates, _States, tuple[Array, Array]], tuple[tuple[Array, Array], _GateGradients]
]


class _Sums(NamedTuple):
    """The gradients of the parameters, summed over the chunks walked so far, gate by gate."""

    w_x: tuple[Array, ...]  # three [I, H]
    w_h: tuple[Array, ...]  # three [H, H]
    b_x: tuple[Array, ...]  # three [H]
    b_hn: Array  # [H]


def _sums_over_chunk(x: Array, gates: _GateGradients) -> _Sums:
    rows = x.shape[0] * x.shape[1]

    def product(operand: Array, gradient: Array) -> Array:
        return jnp.matmul(operand.reshape(rows, -1).T, gradient.reshape(rows, -1))

    return _Sums(
        w_x=tuple(product(x, d) for d in gates.d_x),
        w_h=tuple(product(h, d) for h, d in zip(gates.h, gates.d_h, strict=True)),
        b_x=tuple(d.sum((0, 1)) for d in gates.d_x),
        b_hn=gates.d_h[2].sum((0, 1)),
    )


def _gates_of_chunk(kept: Kept, chunks: Chunks) -> Callable[[Array, Chunk, Array], Gates]:
    """The function `(index, chunk, seen) -> Gates` of `[K, B, H]`, kept or recomputed."""
    evaluate = gates_of(kept.inputs.params)

    def recomputed(index: Array, chunk: Chunk, seen: Array) -> Gates:
        return evaluate(seen, chunk.project_inputs(kept.inputs.params))

    def sliced(index: Array, chunk: Chunk, seen: Array) -> Gates:
        gates = slice_steps(chunk.begin, chunks.length, kept.gates)
        takes_part = chunks.takes_part(index)
        if takes_part is None:
            return gates
        return gates._replace(update=jnp.where(takes_part[..., None], gates.update, 1))

    return recomputed if kept.gates is None else sliced


def _differentiate_after(
    params: GRUParams, masks: Masks, dtype: Any, reverse: bool
) -> _Differentiate:
    """The adjoint through one chunk with reset_after=True; see the derivation."""
    w_h_t = pack_gates(params.w_h).T.astype(dtype)  # [3H, H]

    def differentiate(gates, states, carry):
        r, c = gates.reset, gates.product
        u, to_n, to_z = update_factors(gates, states.h, masks)
        to_c = to_n * r
        to_r = to_c * c * (1 - r)

        def step(carry, inputs):
            adjoint, d_reset = carry
            d_h, u, to_r, to_z, to_c, starts_now = inputs
            adjoint = adjoint + d_h
            d_gates = jnp.concatenate([adjoint * to_r, adjoint * to_z, adjoint * to_c], axis=-1)
            d_before = adjoint * u + of_state(matmul(d_gates, w_h_t), masks)
            return _pass_on(d_before, d_reset, starts_now), adjoint

        inputs = (states.d_hs, u, to_r, to_z, to_c, states.starts)
        carry, adjoints = lax.scan(step, carry, inputs, reverse=not reverse)
        d_r, d_z, h = adjoints * to_r, adjoints * to_z, states.seen.astype(dtype)
        return carry, _GateGradients(
            d_x=(d_r, d_z, adjoints * to_n), d_h=(d_r, d_z, adjoints * to_c), h=(h, h, h)
        )

    return differentiate


def _differentiate_before(
    params: GRUParams, masks: Masks, dtype: Any, reverse: bool
) -> _Differentiate:
    """The adjoint through one chunk with reset_after=False; see the derivation."""
    w_rz_t = pack_gates(params.w_h[:2]).T.astype(dtype)  # [2H, H]
    w_hn_t = params.w_h[2].T.astype(dtype)

    def differentiate(gates, states, carry):
        r, h = gates.reset, states.seen
        u, to_n, to_z = update_factors(gates, states.h, masks)
        to_r = h * r * (1 - r)

        def step(carry, inputs):
            adjoint, d_reset = carry
            d_h, r, u, to_r, to_z, to_n, starts_now = inputs
            adjoint = adjoint + d_h
            q = matmul(adjoint * to_n, w_hn_t)
            d_gates = jnp.concatenate([q * to_r, adjoint * to_z], axis=-1)
            d_before = adjoint * u + of_state(q * r + matmul(d_gates, w_rz_t), masks)
            return _pass_on(d_before, d_reset, starts_now), (adjoint, q)

        inputs = (states.d_hs, r, u, to_r, to_z, to_n, states.starts)
        carry, (adjoints, q) = lax.scan(step, carry, inputs, reverse=not reverse)
        d_gates = (q * to_r, adjoints * to_z, adjoints * to_n)
        r_h = (r * h).astype(h.dtype).astype(dtype)
        h = h.astype(dtype)
        return carry, _GateGradients(d_x=d_gates, d_h=d_gates, h=(h, h, r_h))

    return differentiate


def update_factors(gates: Gates, h: Array, masks: Masks) -> tuple[Array, Array, Array]:
    """`u`, and what `λ` is multiplied with to give `δn` and `δz`."""
    _, z, n, _ = gates
    u = masks.expected_update(z)
    to_n, to_z = (1 - u) * (1 - n * n), (h - n) * z * (1 - z)
    return u, to_n, to_z if masks.zoneout is None else (1 - masks.zoneout) * to_z


def of_state(d_seen: Array, masks: Masks) -> Array:
    return d_seen if masks.scale is None else masks.scale * d_seen


def _pass_on(d_before: Array, d_reset: Array, starts_now: Array | None) -> tuple[Array, Array]:
    """Hands a state's gradient to the step before, or to what the state was set to."""
    if starts_now is None:
        return d_before, d_reset
    was_set = starts_now[:, None]
    return jnp.where(was_set, 0, d_before), d_reset + jnp.where(was_set, d_before, 0)


def _states_before(h_after: Array, hs: Array, h0: Array, begin: Array, reverse: bool) -> Array:
    """The states before a chunk's steps, `[K, B, H]`, from the states after them."""
    steps, length = hs.shape[0], h_after.shape[0]
    neighbour = begin + length if reverse else begin - 1
    outside = (neighbour < 0) | (neighbour >= steps)
    boundary = lax.dynamic_index_in_dim(hs, jnp.clip(neighbour, 0, steps - 1))
    boundary = jnp.where(outside, h0, boundary)
    if reverse:
        return jnp.concatenate([h_after[1:], boundary])
    return jnp.concatenate([boundary, h_after[:-1]])
