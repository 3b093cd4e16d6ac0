"""The tangent of the scan; derived in `grujax.implementations.scan.rules`."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import matmul
from grujax.implementations.gates import pack_gates
from grujax.implementations.scan.adjoint import drop_gradient, update_factors
from grujax.implementations.scan.backward import make_chunk_gates_fn, state_before_chunk
from grujax.implementations.scan.chunks import split_time
from grujax.implementations.types import (
    GateResiduals,
    Primals,
    RecurrenceArgs,
    Residuals,
    states_before,
    zero_invalid,
)
from grujax.jax_support.promotion import match_rank, wide_dtype

# Of a chunk: the part of the tangent of the states that does not depend on the state before, a
# function from the tangent of the state, as the gates see it, to the other part but u ∘ ḣ, and
# what that function takes at each step.
ChunkTangent = tuple[Array | None, Callable[[Array, Any], Array], Any]


def tangent(residuals: Residuals, tangents: Primals) -> tuple[Array, Array]:
    """The tangents of `h_last [B, H]` and `hs [T, B, H]`; a tangent that is None is zero."""
    args, hs, _ = residuals
    masks = args.masks
    steps, batch, _ = args.xs.shape
    chunks = split_time(steps, batch, args.reverse)
    dtype = wide_dtype(hs.dtype)
    gates_of_chunk = make_chunk_gates_fn(residuals, chunks)
    make = _reset_after if args.params.reset_after else _reset_before

    def state_tangent(given: Array | None) -> Array:
        return jnp.zeros_like(args.h0, dtype) if given is None else given.astype(dtype)

    d_reset = state_tangent(tangents.reset_state)
    d_params = jax.tree.map(lambda d: d.astype(dtype), tangents.params)

    def run_chunk(index: Array, carry: Any) -> Any:
        d_h, d_hs = carry
        chunk = chunks.slice_args(index, args)
        first = state_before_chunk(hs, args, chunks, index)
        h_after = chunks.slice_steps(index, hs)
        h = states_before(h_after, first, args.reset_state, chunk.masks.restart, args.reverse)
        seen = masks.apply_recurrent_dropout(h)
        gates = gates_of_chunk(index, chunk, seen)
        u = masks.apply_zoneout(gates.update)
        of_chunk = tangents._replace(params=d_params, xs=chunks.slice_steps(index, tangents.xs))
        direct, through_gates, factors = make(chunk, of_chunk, gates, h, seen, dtype)

        def step(d_h: Array, inputs: Any) -> tuple[Array, Array]:
            u, direct, factors, valid, restart = inputs
            if restart is not None:
                d_h = jnp.where(restart[:, None], d_reset, d_h)
            d_h = u * d_h + through_gates(drop_gradient(d_h, masks), factors)
            d_h = d_h if direct is None else d_h + direct
            return d_h, zero_invalid(valid, d_h)

        inputs = (u, direct, factors, chunk.masks.valid, chunk.masks.restart)
        d_h, of_steps = lax.scan(step, d_h, inputs, reverse=args.reverse)
        return d_h, chunks.write_steps(index, d_hs, of_steps)

    carry = state_tangent(tangents.h0), jnp.zeros_like(hs)
    d_last, d_hs = chunks.fold(run_chunk, carry)
    return d_last.astype(args.h0.dtype), d_hs


def _reset_after(
    chunk: RecurrenceArgs,
    tangents: Primals,
    gates: GateResiduals,
    h: Array,
    seen: Array,
    dtype: Any,
) -> ChunkTangent:
    r: Array = gates.reset
    c: Any = gates.product
    _, to_n, to_z = update_factors(gates, h, chunk.masks)
    to_c = to_n * r
    to_r = to_c * c * (1 - r)
    x_r, x_z, x_n = _input_terms(chunk, tangents, dtype)
    h_r, h_z, h_c = (_state_term(tangents, gate, seen, dtype) for gate in range(3))
    direct = _add(
        _scale(to_r, _add(x_r, h_r)),
        _scale(to_z, _add(x_z, h_z)),
        _scale(to_n, x_n),
        _scale(to_c, h_c),
    )
    w_h = pack_gates(chunk.params.w_h).astype(dtype)

    def through_gates(d_seen: Array, factors: Any) -> Array:
        to_r, to_z, to_c = factors
        d_r, d_z, d_c = jnp.split(matmul(d_seen, w_h), 3, axis=-1)
        return to_r * d_r + to_z * d_z + to_c * d_c

    return direct, through_gates, (to_r, to_z, to_c)


def _reset_before(
    chunk: RecurrenceArgs,
    tangents: Primals,
    gates: GateResiduals,
    h: Array,
    seen: Array,
    dtype: Any,
) -> ChunkTangent:
    r = gates.reset
    _, to_n, to_z = update_factors(gates, h, chunk.masks)
    to_r = seen.astype(dtype) * r * (1 - r)
    w_rz = pack_gates(chunk.params.w_h[:2]).astype(dtype)
    w_hn = chunk.params.w_h[2].astype(dtype)
    of_x = _input_terms(chunk, tangents, dtype)
    operands = (seen, seen, (r * seen.astype(dtype)).astype(seen.dtype))
    of_h = [_state_term(tangents, gate, states, dtype) for gate, states in enumerate(operands)]
    of_r, of_z, of_n = (_add(*terms) for terms in zip(of_x, of_h, strict=True))
    through_r = None if of_r is None else matmul(to_r * of_r, w_hn)
    direct = _add(_scale(to_z, of_z), _scale(to_n, _add(of_n, through_r)))

    def through_gates(d_seen: Array, factors: Any) -> Array:
        r, to_r, to_z, to_n = factors
        d_r, d_z = jnp.split(matmul(d_seen, w_rz), 2, axis=-1)
        return to_z * d_z + to_n * matmul(to_r * d_r + r * d_seen, w_hn)

    return direct, through_gates, (r, to_r, to_z, to_n)


def _input_terms(chunk: RecurrenceArgs, tangents: Primals, dtype: Any) -> list[Array | None]:
    """The tangents of the inputs' part of the gates r, z and n, each `[K, B, H]`."""
    d_params, d_xs = tangents.params, tangents.xs

    def term(gate: int) -> Array | None:
        return _add(
            _product(d_xs, chunk.params.w_x[gate], dtype),
            _product(chunk.xs, _of_gate(d_params.w_x, gate), dtype),
            _of_gate(d_params.b_x, gate),
        )

    return [term(gate) for gate in range(3)]


def _state_term(tangents: Primals, gate: int, states: Array, dtype: Any) -> Array | None:
    """The tangent of a gate's recurrent product by its weights and bias, `[K, B, H]`."""
    d_params = tangents.params
    product = _product(states, _of_gate(d_params.w_h, gate), dtype)
    return _add(product, d_params.b_hn) if gate == 2 else product


def _of_gate(array: Array | None, gate: int) -> Array | None:
    return None if array is None else array[gate]


def _product(x: Array | None, w: Array | None, dtype: Any) -> Array | None:
    return None if x is None or w is None else matmul(x.astype(dtype), w.astype(dtype))


def _scale(factor: Array, term: Array | None) -> Array | None:
    return None if term is None else factor * match_rank(term, factor)


def _add(*terms: Array | None) -> Array | None:
    """The sum of the terms that are not None."""
    present = [term for term in terms if term is not None]
    if not present:
        return None
    widest = max(present, key=jnp.ndim)
    return reduce(jnp.add, [match_rank(term, widest) for term in present])
