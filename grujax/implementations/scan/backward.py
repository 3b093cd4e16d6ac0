"""The backward pass of the scan; derived in `grujax.implementations.scan.rules`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import matmul
from grujax.implementations.gates import make_gates_fn, project_steps
from grujax.implementations.scan.adjoint import ChunkStates, GateGradients, make_adjoint_fn
from grujax.implementations.scan.chunks import Chunks, split_time
from grujax.implementations.types import (
    GateResiduals,
    Primals,
    RecurrenceArgs,
    Residuals,
    states_before,
    zero_invalid,
)
from grujax.jax_support.promotion import wide_dtype
from grujax.params import GRUParams


def backward(
    residuals: Residuals,
    d_last: Array,  # [B, H]
    d_hs: Array,  # [T, B, H]
) -> Primals:
    """The gradient of the primals. Visits time in the order opposite to the forward pass."""
    args, hs, _ = residuals
    params, masks = args.params, args.masks
    steps, batch, _ = args.xs.shape
    chunks = split_time(steps, batch, not args.reverse)
    dtype = wide_dtype(hs.dtype)
    adjoint_fn = make_adjoint_fn(args, dtype)
    gates_of_chunk = make_chunk_gates_fn(residuals, chunks)
    w_x_t = [w.T for w in params.w_x.astype(dtype)]  # three [H, I]

    def run_chunk(index: Array, carry: Any) -> Any:
        adjoints, d_xs, sums = carry
        chunk = chunks.slice_args(index, args)
        h_after, d_hs_of_chunk = chunks.slice_steps(index, (hs, d_hs))
        first = state_before_chunk(hs, args, chunks, index)
        h = states_before(h_after, first, args.reset_state, chunk.masks.restart, args.reverse)
        seen = masks.apply_recurrent_dropout(h)
        gates = gates_of_chunk(index, chunk, seen)
        d_hs_of_chunk = zero_invalid(chunk.masks.valid, d_hs_of_chunk).astype(dtype)

        states = ChunkStates(h, seen, d_hs_of_chunk, chunk.masks.restart)
        adjoints, gradients = adjoint_fn(gates, states, adjoints)
        sums = jax.tree.map(jnp.add, sums, _sum_over_chunk(chunk.xs.astype(dtype), gradients))
        d_r, d_z, d_n = (matmul(d, w_t) for d, w_t in zip(gradients.d_x, w_x_t, strict=True))
        return adjoints, chunks.write_steps(index, d_xs, d_r + d_z + d_n), sums

    adjoints = (d_last.astype(dtype), jnp.zeros_like(args.h0, dtype))
    carry = (adjoints, jnp.zeros_like(args.xs), _zero_sums(params, dtype))
    (d_h0, d_reset), d_xs, sums = chunks.fold(run_chunk, carry)
    d_params = GRUParams(
        w_x=jnp.stack(sums.w_x),
        w_h=jnp.stack(sums.w_h),
        b_x=jnp.stack(sums.b_x),
        b_hn=sums.b_hn,
        reset_after=params.reset_after,
    )
    gradient = Primals(d_params, d_xs, d_h0, d_reset)
    return jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, args.primals)


class _Sums(NamedTuple):
    """The gradients of the parameters, summed over chunks.

    One array per gate: packing them would copy the weights' gradients in every chunk.
    """

    w_x: tuple[Array, ...]  # three [I, H]
    w_h: tuple[Array, ...]  # three [H, H]
    b_x: tuple[Array, ...]  # three [H]
    b_hn: Array  # [H]


def _zero_sums(params: GRUParams, dtype: Any) -> _Sums:
    zeros = jax.tree.map(lambda w: jnp.zeros_like(w, dtype), params)
    return _Sums(tuple(zeros.w_x), tuple(zeros.w_h), tuple(zeros.b_x), zeros.b_hn)


def _sum_over_chunk(x: Array, gradients: GateGradients) -> _Sums:
    rows = x.shape[0] * x.shape[1]

    def product(operand: Array, gradient: Array) -> Array:
        return jnp.matmul(operand.reshape(rows, -1).T, gradient.reshape(rows, -1))

    return _Sums(
        w_x=tuple(product(x, d) for d in gradients.d_x),
        w_h=tuple(product(h, d) for h, d in zip(gradients.h, gradients.d_h, strict=True)),
        b_x=tuple(d.sum((0, 1)) for d in gradients.d_x),
        b_hn=gradients.d_h[2].sum((0, 1)),
    )


def make_chunk_gates_fn(
    residuals: Residuals, chunks: Chunks
) -> Callable[[Array, RecurrenceArgs, Array], GateResiduals]:
    """The function `(index, chunk, seen) -> GateResiduals`, each `[K, B, H]`."""
    gates_fn = make_gates_fn(residuals.args.params)

    def recompute(index: Array, chunk: RecurrenceArgs, seen: Array) -> GateResiduals:
        return gates_fn(seen, project_steps(chunk))

    def read(index: Array, chunk: RecurrenceArgs, seen: Array) -> GateResiduals:
        gates = chunks.slice_steps(index, residuals.gates)
        active = chunks.active_mask(index)
        if active is None:
            return gates
        return gates._replace(update=jnp.where(active[..., None], gates.update, 1))

    return recompute if residuals.gates is None else read


def state_before_chunk(hs: Array, args: RecurrenceArgs, chunks: Chunks, index: Array) -> Array:
    """`[B, H]`, the state from which the recurrence enters a chunk."""
    begin = chunks.begin(index)
    neighbor = begin + chunks.length if args.reverse else begin - 1
    is_outside = (neighbor < 0) | (neighbor >= chunks.steps)
    clipped = jnp.clip(neighbor, 0, chunks.steps - 1)
    return jnp.where(is_outside, args.h0, lax.dynamic_index_in_dim(hs, clipped, keepdims=False))
