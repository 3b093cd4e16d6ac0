"""The two walks over time for TPUs: calls of the kernels, on padded arrays.

A program of the grid walks a block of time for a tile of rows. The grid's inner axis is time, which
a TPU runs in order: an output whose block does not move with time stays in VMEM from one program to
the next, and so carries the state forward, or the adjoint back. The recurrent weights stay there
too; blocks of time come and go beside the arithmetic. Walking from T − 1 to 0 is a matter of
indices.
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

from grujax.implementations.gates import Gates, pack_gates
from grujax.implementations.passes import Inputs
from grujax.implementations.tpu.kernels import adjoints_kernel, states_kernel
from grujax.implementations.tpu.tiles import Tiles
from grujax.implementations.types import Masks
from grujax.params import GRUParams

VMEM_BYTES = 100 * 2**20  # of the 128 MiB of a TPU v5e or v6e


class Operands(NamedTuple):
    """What a kernel reads or writes: trees of arrays, by the part of them that a program has."""

    in_time: Any  # [T, B, ...]: a block
    of_rows: Any  # [B, H]: the rows of a tile
    whole: Any = ()


def walk_states(
    tiles: Tiles,
    inputs: Inputs,  # padded, as everything else
    masks: Masks,
    projected: Array,  # [T, B, 3·H], float32: +inf for the update gate where the state is kept
    *,
    reverse: bool,
    keep_gates: bool,
) -> tuple[Array, Array, Gates | None]:
    """`h_last [B, H]`, and the states after all steps and their gates, `[T, B, H]`."""
    params, _, h0, reset_state = inputs
    set_to = None if masks.starts is None else reset_state
    operands = Operands(
        in_time=(projected, _as_column(masks.starts)),
        of_rows=(h0, set_to, masks.scale),
        whole=(
            pack_gates(params.w_h),
            params.b_hn.astype(jnp.float32)[None],
            _as_row(masks.zoneout, params),
        ),
    )
    gate: Any = jax.ShapeDtypeStruct(tiles.padded, jnp.float32)
    gates = Gates(gate, gate, gate, gate if params.reset_after else None)
    results = Operands(
        in_time=(jax.ShapeDtypeStruct(tiles.padded, h0.dtype), gates if keep_gates else None),
        of_rows=jax.ShapeDtypeStruct(tiles.padded[1:], h0.dtype),
    )
    kernel = partial(states_kernel, params.reset_after, reverse)
    (hs, kept), h_last = _call(kernel, tiles, reverse, operands, results)
    return h_last, hs, kept


def walk_adjoints(
    tiles: Tiles,
    params: GRUParams,
    masks: Masks,
    before: Array,  # [T, B, H], the states before the steps
    gates: Gates,
    d_last: Array,
    d_hs: Array,
    *,
    reverse: bool,  # of the states' walk, against which this one goes
) -> tuple[Array, Array, Array]:
    """The gradients of the gates, of h0 and of reset_state; see `grujax.implementations.scan.forward`.

    The gates' are `[T, B, 4·H]`, δc, δr, δz and δn side by side, so that what belongs to the inputs
    lies together, and what belongs to the state; without reset_after `[T, B, 3·H]`, δr, δz and δn.
    """
    steps, batch, units = tiles.padded
    dtype = params.w_h.dtype
    operands = Operands(
        in_time=(before, gates, d_hs, _as_column(masks.starts)),
        of_rows=(d_last.astype(jnp.float32), masks.scale),
        whole=(pack_gates(params.w_h).T, _as_row(masks.zoneout, params)),
    )
    number = 4 if params.reset_after else 3
    of_rows = jax.ShapeDtypeStruct((batch, units), jnp.float32)
    results = Operands(
        in_time=jax.ShapeDtypeStruct((steps, batch, number * units), dtype),
        of_rows=(of_rows, None if masks.starts is None else of_rows),
    )
    kernel = partial(adjoints_kernel, params.reset_after, not reverse)
    d_gates, (d_h0, d_reset) = _call(kernel, tiles, not reverse, operands, results)
    return d_gates, d_h0, jnp.zeros_like(d_h0) if d_reset is None else d_reset


def _as_column(starts: Array | None) -> Array | None:
    """`[T, B, 1]`, not zero where the state is set."""
    return None if starts is None else starts[..., None].astype(jnp.float32)


def _as_row(zoneout: Array | None, params: GRUParams) -> Array | None:
    return None if zoneout is None else jnp.full_like(params.b_hn, zoneout, jnp.float32)[None]


def _call(
    kernel: Callable[..., None],
    tiles: Tiles,
    backwards: bool,
    operands: Operands,
    results: Operands,
) -> tuple[Any, Any]:
    """Runs the kernel with the references to the operands and the results, over all of time."""
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
