"""The two passes by the kernels for TPUs; see `grujax.implementations.tpu.support`."""

from __future__ import annotations

from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from grujax.cell import add_bias, matmul
from grujax.implementations.gates import (
    make_gates_fn,
    pack_gates,
    set_carried,
    weight_gradients,
)
from grujax.implementations.tpu.tiles import Tiles, choose_tiles
from grujax.implementations.types import (
    GateResiduals,
    Outputs,
    Primals,
    RecurrenceArgs,
    Residuals,
    states_before,
    zero_invalid,
)
from grujax.params import GRUParams


def forward_pass(args: RecurrenceArgs, keep_gates: bool) -> Outputs:
    """`h_last [B, H]`, `hs [T, B, H]` and the gates or None, for one batch axis."""
    from grujax.implementations.tpu.launch import run_forward

    tiles = _tiles_for(args)
    padded = tiles.pad_args(args)
    with _precision_for(args.xs.dtype):
        h_last, hs, gates = run_forward(tiles, padded, _project(padded), keep_gates=keep_gates)
    steps, batch, hidden = tiles.unpadded
    hs, gates = jax.tree.map(lambda array: array[:steps, :batch, :hidden], (hs, gates))
    return h_last[:batch, :hidden], zero_invalid(args.masks.valid, hs), gates


def backward_pass(residuals: Residuals, d_last: Array, d_hs: Array) -> Primals:
    """The gradient of the primals from those of `h_last [B, H]` and `hs [T, B, H]`."""
    from grujax.implementations.tpu.launch import run_backward

    args, hs, gates = residuals
    tiles = _tiles_for(args)
    padded = tiles.pad_args(args)
    before = states_before(hs, args.h0, args.reset_state, args.masks.restart, args.reverse)
    before = tiles.pad_steps(before)
    seen = padded.masks.apply_recurrent_dropout(before)
    with _precision_for(before.dtype):
        gates = _recompute_gates(padded, seen) if gates is None else tiles.pad_gates(gates)
        d_gates, d_h0, d_reset = run_backward(
            tiles,
            padded,
            before,
            gates,
            tiles.pad_rows(d_last),
            tiles.pad_steps(zero_invalid(args.masks.valid, d_hs)),
        )
        d_params = _weight_gradients(padded, seen, gates, d_gates)
        d_x = d_gates[..., -3 * tiles.padded[2] :]
        d_xs = matmul(d_x, pack_gates(padded.params.w_x).T)
    steps, batch, hidden = tiles.unpadded
    gradient = Primals(
        params=jax.tree.map(lambda d, of: d[tuple(map(slice, of.shape))], d_params, args.params),
        xs=d_xs[:steps, :batch],
        h0=d_h0[:batch, :hidden],
        reset_state=d_reset[:batch, :hidden],
    )
    return jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, args.primals)


def _tiles_for(args: RecurrenceArgs) -> Tiles:
    steps, batch, _ = args.xs.shape
    return choose_tiles(steps, batch, args.h0.shape[-1], args.xs.dtype)


def _precision_for(dtype: DTypeLike) -> AbstractContextManager[None]:
    return jax.default_matmul_precision("highest" if dtype == jnp.float32 else "default")


def _project(args: RecurrenceArgs) -> Array:
    """The inputs' part of the gates r, z and n side by side, `[T, B, 3·H]`, in float32.

    As `gates.project_steps`, by one matmul.
    """
    projected = matmul(args.xs, pack_gates(args.params.w_x))
    projected = add_bias(projected, args.params.b_x.reshape(-1))
    x_r, x_z, x_n = jnp.split(projected, 3, axis=-1)
    return jnp.concatenate([x_r, set_carried(x_z, args.masks, jnp.inf), x_n], axis=-1)


def _recompute_gates(args: RecurrenceArgs, seen: Array) -> GateResiduals:
    x_r, x_z, x_n = jnp.split(_project(args), 3, axis=-1)
    return make_gates_fn(args.params)(seen, (x_r, x_z, x_n))


def _weight_gradients(
    args: RecurrenceArgs, seen: Array, gates: GateResiduals, d_gates: Array
) -> GRUParams:
    """One matmul for each block of gates, over the whole sequence, in float32; all padded."""
    hidden, reset_after = seen.shape[-1], args.params.reset_after
    d_rz, d_c = d_gates[..., -3 * hidden : -hidden], d_gates[..., :hidden]
    if reset_after:
        blocks = [(seen, d_rz), (seen, d_c)]
    else:
        reset_h = (gates.reset * seen).astype(seen.dtype)
        blocks = [(seen, d_rz), (reset_h, d_gates[..., -hidden:])]

    def multiply(operand: Array, gradient: Array) -> Array:
        rows, size = operand.shape[0] * operand.shape[1], operand.shape[2]
        packed = matmul(operand.reshape(rows, size).T, gradient.reshape(rows, -1))
        return packed.reshape(size, -1, hidden).swapaxes(0, 1)

    d_x = d_gates[..., -3 * hidden :]
    return weight_gradients(args.xs, d_x, blocks, multiply, reset_after)
