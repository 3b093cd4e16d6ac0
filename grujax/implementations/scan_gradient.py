"""The hand-derived gradient of the scan; the derivation stands in `grujax.implementations.scan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import matmul
from grujax.implementations.chunks import Chunk, cut_time, pack_gates, prepare_chunk, slice_steps
from grujax.params import GRUParams


class Kept(NamedTuple):
    """What the forward pass keeps for the backward pass."""

    params: GRUParams
    xs: Array  # [T, B, I]
    h0: Array  # [B, H]
    exists: Array | None  # [T, B] bool
    starts: Array | None  # [T, B] bool
    hs: Array  # [T, B, H]


def backward(
    kept: Kept,
    d_last: Array,  # [B, H]
    d_hs: Array,  # [T, B, H]
    *,
    reverse: bool,
) -> tuple[GRUParams, Array, Array]:
    """The gradients of the parameters, `xs` and `h0`; walks time against the forward pass."""
    params, xs, h0, exists, starts, hs = kept
    steps, batch, _ = xs.shape
    chunks = cut_time(steps, batch, not reverse)
    dtype = jnp.promote_types(hs.dtype, jnp.float32)
    factory = _differentiate_after if params.reset_after else _differentiate_before
    differentiate = factory(params, dtype, reverse)
    w_x_t = [w.T for w in params.w_x.astype(dtype)]  # three [H, I]

    def body(index, carry):
        adjoint, d_h0, d_xs, sums = carry
        begin = chunks.begin(index)
        x, h_after, d_here, exists_here, starts_here = slice_steps(
            begin, chunks.length, (xs, hs, d_hs, exists, starts)
        )
        chunk = prepare_chunk(chunks, index, params, x, exists_here, starts_here)
        h = _states_before(h_after, hs, h0, begin, reverse)
        if chunk.starts is not None:
            h = jnp.where(chunk.starts[..., None], h0, h)
        if chunk.exists is not None:
            d_here = jnp.where(chunk.exists[..., None], d_here, 0)

        (adjoint, d_h0), gates = differentiate(chunk, h, d_here.astype(dtype), (adjoint, d_h0))
        sums = jax.tree.map(jnp.add, sums, _sums_over_chunk(x.astype(dtype), gates))
        d_r, d_z, d_n = (matmul(d, w_t) for d, w_t in zip(gates.d_x, w_x_t, strict=True))
        d_x = d_r + d_z + d_n
        d_xs = lax.dynamic_update_slice_in_dim(d_xs, d_x.astype(d_xs.dtype), begin, 0)
        return adjoint, d_h0, d_xs, sums

    zeros = jax.tree.map(lambda w: jnp.zeros(w.shape, dtype), params)
    sums = _Sums(tuple(zeros.w_x), tuple(zeros.w_h), tuple(zeros.b_x), zeros.b_hn)
    start = (d_last.astype(dtype), jnp.zeros(h0.shape, dtype), jnp.zeros_like(xs), sums)
    adjoint, d_h0, d_xs, sums = chunks.walk(body, start)
    d_params = GRUParams(
        w_x=jnp.stack(sums.w_x),
        w_h=jnp.stack(sums.w_h),
        b_x=jnp.stack(sums.b_x),
        b_hn=sums.b_hn,
        reset_after=params.reset_after,
    )
    d_params = jax.tree.map(lambda d, w: d.astype(w.dtype), d_params, params)
    return d_params, d_xs, (adjoint + d_h0).astype(h0.dtype)


class _GateGradients(NamedTuple):
    """A chunk's gradients with respect to the gates' two operands, in the order r, z, n."""

    d_x: tuple[Array, Array, Array]  # of the projected inputs: δr, δz, δn, each [K, B, H]
    d_h: tuple[Array, Array, Array]  # of the products with Wh: δr, δz, and δc or δn
    h: tuple[Array, Array, Array]  # what Wh was multiplied with: h, h, and h or r ∘ h


# (chunk, h [K, B, H], d_hs [K, B, H], (adjoint, d_h0)) -> (adjoint, d_h0), gate gradients
_Differentiate = Callable[
    [Chunk, Array, Array, tuple[Array, Array]], tuple[tuple[Array, Array], _GateGradients]
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


def _differentiate_after(params: GRUParams, dtype: Any, reverse: bool) -> _Differentiate:
    """The adjoint through one chunk with reset_after=True; see the derivation above."""
    w_h_t = pack_gates(params.w_h).T.astype(dtype)  # [3H, H]

    def differentiate(chunk, h, d_hs, carry):
        x_r, x_z, x_n = chunk.projected
        h_r, h_z, h_n = (matmul(h, w) for w in params.w_h)
        r, z, c = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z), h_n + params.b_hn
        n = jnp.tanh(x_n + r * c)
        # δn = λ ∘ to_n, and so on.
        to_n, to_z = (1 - z) * (1 - n * n), (h - n) * z * (1 - z)
        to_c = to_n * r
        to_r = to_c * c * (1 - r)

        def step(carry, inputs):
            adjoint, d_h0 = carry
            d_h, z, to_r, to_z, to_c, starts_now = inputs
            adjoint = adjoint + d_h
            d_gates = jnp.concatenate([adjoint * to_r, adjoint * to_z, adjoint * to_c], axis=-1)
            d_before = adjoint * z + matmul(d_gates, w_h_t)
            return _pass_on(d_before, d_h0, starts_now), adjoint

        inputs = (d_hs, z, to_r, to_z, to_c, chunk.starts)
        carry, adjoints = lax.scan(step, carry, inputs, reverse=not reverse)
        d_r, d_z, h = adjoints * to_r, adjoints * to_z, h.astype(dtype)
        return carry, _GateGradients(
            d_x=(d_r, d_z, adjoints * to_n), d_h=(d_r, d_z, adjoints * to_c), h=(h, h, h)
        )

    return differentiate


def _differentiate_before(params: GRUParams, dtype: Any, reverse: bool) -> _Differentiate:
    """The adjoint through one chunk with reset_after=False; see the derivation above."""
    w_hr, w_hz, w_hn = params.w_h
    w_rz_t = pack_gates(params.w_h[:2]).T.astype(dtype)  # [2H, H]
    w_hn_t = w_hn.T.astype(dtype)

    def differentiate(chunk, h, d_hs, carry):
        x_r, x_z, x_n = chunk.projected
        r, z = jax.nn.sigmoid(x_r + matmul(h, w_hr)), jax.nn.sigmoid(x_z + matmul(h, w_hz))
        r_h = (r * h).astype(h.dtype)
        n = jnp.tanh(x_n + matmul(r_h, w_hn) + params.b_hn)
        # δn = λ ∘ to_n, δz = λ ∘ to_z, δr = q ∘ to_r
        to_n, to_z = (1 - z) * (1 - n * n), (h - n) * z * (1 - z)
        to_r = h * r * (1 - r)

        def step(carry, inputs):
            adjoint, d_h0 = carry
            d_h, r, z, to_r, to_z, to_n, starts_now = inputs
            adjoint = adjoint + d_h
            q = matmul(adjoint * to_n, w_hn_t)
            d_gates = jnp.concatenate([q * to_r, adjoint * to_z], axis=-1)
            d_before = adjoint * z + q * r + matmul(d_gates, w_rz_t)
            return _pass_on(d_before, d_h0, starts_now), (adjoint, q)

        inputs = (d_hs, r, z, to_r, to_z, to_n, chunk.starts)
        carry, (adjoints, q) = lax.scan(step, carry, inputs, reverse=not reverse)
        gates = (q * to_r, adjoints * to_z, adjoints * to_n)
        h, r_h = h.astype(dtype), r_h.astype(dtype)
        return carry, _GateGradients(d_x=gates, d_h=gates, h=(h, h, r_h))

    return differentiate


def _pass_on(d_before: Array, d_h0: Array, starts_now: Array | None) -> tuple[Array, Array]:
    """Hands a state's gradient to the step before, or to `h0` where the state was set to it."""
    if starts_now is None:
        return d_before, d_h0
    to_h0 = starts_now[:, None]
    return jnp.where(to_h0, 0, d_before), d_h0 + jnp.where(to_h0, d_before, 0)


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
