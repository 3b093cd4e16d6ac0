"""Calls of the kernels for TPUs, on padded arrays.

One program of the grid runs a block of time for a tile of rows. The inner axis of the grid is time,
which a TPU runs in order. An output whose block does not move with time stays in VMEM from one
program to the next: so the state is carried forward, or the adjoint backward. The recurrent weights
stay in VMEM too; blocks of time are transferred while others are computed. The direction of time is
a matter of block indices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from grujax.implementations.gates import pack_gates
from grujax.implementations.tpu.kernels import backward_kernel, forward_kernel
from grujax.implementations.tpu.tiles import Tiles
from grujax.implementations.types import GateResiduals, RecurrenceArgs
from grujax.params import GRUParams

VMEM_BYTES = 100 * 2**20  # of the 128 MiB of a TPU v5e or v6e


class KernelArrays(NamedTuple):
    """The arrays that a kernel reads or writes: trees, by the part that one program gets."""

    in_time: Any  # [T, B, ...]: a block
    of_rows: Any  # [B, H]: the rows of a tile
    whole: Any = ()


def run_forward(
    tiles: Tiles,
    args: RecurrenceArgs,  # padded, as everything else
    projected: Array,  # [T, B, 3·H], float32: +inf for the update gate where the state is carried
    *,
    keep_gates: bool,
) -> tuple[Array, Array, GateResiduals | None]:
    """`h_last [B, H]`, and the states after all steps and their gates, `[T, B, H]`."""
    params, masks = args.params, args.masks
    operands = KernelArrays(
        in_time=(projected, _as_column(masks.restart)),
        of_rows=(
            args.h0,
            None if masks.restart is None else args.reset_state,
            masks.recurrent_dropout_mask,
        ),
        whole=(
            pack_gates(params.w_h),
            params.b_hn.astype(jnp.float32)[None],
            _as_row(masks.zoneout_rate, params),
        ),
    )
    gate: Any = jax.ShapeDtypeStruct(tiles.padded, jnp.float32)
    gates = GateResiduals(gate, gate, gate, gate if params.reset_after else None)
    dtype = args.h0.dtype
    results = KernelArrays(
        in_time=(jax.ShapeDtypeStruct(tiles.padded, dtype), gates if keep_gates else None),
        of_rows=jax.ShapeDtypeStruct(tiles.padded[1:], dtype),
    )
    kernel = partial(forward_kernel, params.reset_after, args.reverse)
    (hs, kept), h_last = _call(kernel, tiles, args.reverse, operands, results)
    return h_last, hs, kept


def run_backward(
    tiles: Tiles,
    args: RecurrenceArgs,
    before: Array,  # [T, B, H], the states before the steps
    gates: GateResiduals,
    d_last: Array,
    d_hs: Array,
) -> tuple[Array, Array, Array]:
    """The gradients of the gates, of h0 and of reset_state, see `implementations.scan.rules`.

    The gradients of the gates are `[T, B, 4·H]`, δc, δr, δz and δn side by side, so that those of
    the inputs' part are contiguous, and those of the state's part; without reset_after they are
    `[T, B, 3·H]`, δr, δz and δn.
    """
    params, masks = args.params, args.masks
    steps, batch, units = tiles.padded
    operands = KernelArrays(
        in_time=(before, gates, d_hs, _as_column(masks.restart)),
        of_rows=(d_last.astype(jnp.float32), masks.recurrent_dropout_mask),
        whole=(pack_gates(params.w_h).T, _as_row(masks.zoneout_rate, params)),
    )
    number = 4 if params.reset_after else 3
    of_rows = jax.ShapeDtypeStruct((batch, units), jnp.float32)
    results = KernelArrays(
        in_time=jax.ShapeDtypeStruct((steps, batch, number * units), params.w_h.dtype),
        of_rows=(of_rows, None if masks.restart is None else of_rows),
    )
    backwards = not args.reverse
    kernel = partial(backward_kernel, params.reset_after, backwards)
    d_gates, (d_h0, d_reset) = _call(kernel, tiles, backwards, operands, results)
    return d_gates, d_h0, jnp.zeros_like(d_h0) if d_reset is None else d_reset


def _as_column(restart: Array | None) -> Array | None:
    """`[T, B, 1]`, not zero where the state is set."""
    return None if restart is None else restart[..., None].astype(jnp.float32)


def _as_row(rate: Array | None, params: GRUParams) -> Array | None:
    return None if rate is None else jnp.full_like(params.b_hn, rate, jnp.float32)[None]


def _call(
    kernel: Callable[..., None],
    tiles: Tiles,
    backwards: bool,
    operands: KernelArrays,
    results: KernelArrays,
) -> tuple[Any, Any]:
    """Runs the kernel over all of time; it gets references to the operands and the results."""
    length, rows, _ = tiles.block
    last = tiles.grid[1] - 1

    def in_time(array: Any) -> pl.BlockSpec:
        return pl.BlockSpec(
            (length, rows, array.shape[2]),
            lambda tile, block: (last - block if backwards else block, tile, 0),
        )

    def of_rows(array: Any) -> pl.BlockSpec:
        return pl.BlockSpec((rows, array.shape[1]), lambda tile, _: (tile, 0))

    def whole(array: Any) -> pl.BlockSpec:
        return pl.BlockSpec(array.shape, lambda *_: (0, 0), pipeline_mode=pl.Buffered(1))

    return pl.pallas_call(
        kernel,
        grid=tiles.grid,
        in_specs=(
            jax.tree.map(in_time, operands.in_time),
            jax.tree.map(of_rows, operands.of_rows),
            jax.tree.map(whole, operands.whole),
        ),
        out_specs=(
            jax.tree.map(in_time, results.in_time),
            jax.tree.map(of_rows, results.of_rows),
        ),
        out_shape=(results.in_time, results.of_rows),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=VMEM_BYTES
        ),
    )(*operands)
