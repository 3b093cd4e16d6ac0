"""The recurrence as Pallas kernels for TPUs, `grujax.implementations.tpu_kernels`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.cell import matmul
from grujax.implementations.chunks import Chunk
from grujax.implementations.gates import Gates, Projected, gates_of
from grujax.implementations.masks import Masks, where_exists
from grujax.implementations.passes import Inputs, Kept, Outputs
from grujax.implementations.scan_gradient import (
    _GateGradients,
    _sums_over_chunk,
    _update_factors,
)
from grujax.implementations.tpu_tiles import weight_bytes
from grujax.params import GRUParams

DTYPES = ("float32", "bfloat16")


def takes(params: GRUParams, dtype: Any) -> bool:
    return jnp.dtype(dtype).name in DTYPES and weight_bytes(params.hidden_size, dtype) < 2**30


def forward_pass(reverse: bool, keep_gates: bool, inputs: Inputs, masks: Masks) -> Outputs:
    from grujax.implementations.tpu_kernels import walk_states

    params, xs, h0, reset_state = inputs
    with _precision(xs.dtype):
        projected = _project(params, xs, masks)
        h_last, hs, gates = walk_states(
            params, projected, h0, reset_state, masks, reverse=reverse, keep_gates=keep_gates
        )
    return h_last, where_exists(masks.exists, hs), gates


def backward_pass(reverse: bool, kept: Kept, d_last: Array, d_hs: Array) -> Inputs:
    from grujax.implementations.tpu_kernels import Factors, walk_adjoints

    inputs, masks, _, _ = kept
    params, xs, _, _ = inputs
    with _precision(xs.dtype):
        before = _states_before(kept, reverse)
        seen = masks.seen(before)
        gates = kept.gates
        if gates is None:
            gates = gates_of(params)(seen, _project(params, xs, masks))
        r, _, _, c = gates
        u, to_n, to_z = _update_factors(gates, before, masks)
        if params.reset_after:
            factors = Factors(u, to_n * r * c * (1 - r), to_z, to_n * r, None)
        else:
            factors = Factors(u, seen * r * (1 - r), to_z, to_n, r)
        adjoints, q, d_h0, d_reset = walk_adjoints(
            params, factors, d_last, where_exists(masks.exists, d_hs), masks, reverse=reverse
        )
        d_r = (adjoints if q is None else q) * factors.to_reset
        d_z, d_n, d_product = adjoints * to_z, adjoints * to_n, adjoints * factors.to_product
        seen = seen.astype(jnp.float32)
        reset_h = seen if params.reset_after else (r * seen).astype(xs.dtype).astype(jnp.float32)
        sums = _sums_over_chunk(
            xs.astype(jnp.float32),
            _GateGradients((d_r, d_z, d_n), (d_r, d_z, d_product), (seen, seen, reset_h)),
        )
        w_x_t = params.w_x.astype(jnp.float32).swapaxes(1, 2)
        d_xs = sum(matmul(d, w_t) for d, w_t in zip((d_r, d_z, d_n), w_x_t, strict=True))
    d_params = GRUParams(
        w_x=jnp.stack(sums.w_x),
        w_h=jnp.stack(sums.w_h),
        b_x=jnp.stack(sums.b_x),
        b_hn=sums.b_hn,
        reset_after=params.reset_after,
    )
    gradient = Inputs(d_params, d_xs, d_h0, d_reset)
    return jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, inputs)


def _precision(dtype: Any) -> Any:
    """A TPU's matmuls round float32 to bfloat16 unless told not to."""
    return jax.default_matmul_precision("highest" if dtype == jnp.float32 else "default")


def _project(params: GRUParams, xs: Array, masks: Masks) -> Projected:
    return Chunk(jnp.zeros((), jnp.int32), xs, masks).project_inputs(params)


def _states_before(kept: Kept, reverse: bool) -> Array:
    """The states before all steps, `[T, B, H]`."""
    inputs, masks, hs, _ = kept
    h0 = inputs.h0[None]
    before = jnp.concatenate([hs[1:], h0] if reverse else [h0, hs[:-1]])
    if masks.starts is None:
        return before
    return jnp.where(masks.starts[..., None], inputs.reset_state, before)
