"""The two walks over time as Pallas kernels for TPUs: what depends on the state, and nothing else.

A program walks a block of time for a tile of rows. The grid's inner axis is time, which a TPU runs
in order: an output whose block does not move with time stays in VMEM from one program to the next,
and so carries the state forward, or the adjoint back. The recurrent weights stay there too; blocks
of time come and go beside the arithmetic.

Padding has z = 1, and sends back no gradient: states and adjoints are carried through it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from grujax.cell import GRUGates, update_state
from grujax.implementations.gates import Gates, Projected
from grujax.implementations.masks import Masks
from grujax.implementations.tpu_tiles import Tiles, cut
from grujax.params import GRUParams

VMEM_BYTES = 100 * 2**20  # of the 128 MiB of a TPU v5e or v6e


class Operands(NamedTuple):
    """What a kernel reads or writes: trees of arrays, by the part of them that a program has."""

    in_time: Any  # [T, B, ...]: a block
    of_rows: Any  # [B, H]: the rows of a tile
    whole: Any = ()


class Factors(NamedTuple):
    """What adjoints are multiplied with, each `[T, B, H]`; see `grujax.implementations.scan`."""

    update: Array  # u
    to_reset: Array  # gives δr: from λ with reset_after, else from q
    to_update: Array  # gives δz from λ
    to_product: Array  # gives from λ what goes back through Whn: δc, or δn without reset_after
    reset: Array | None  # r, without reset_after


def walk_states(
    params: GRUParams,
    projected: Projected,  # float32; +inf for the update gate where the state is kept
    h0: Array,
    reset_state: Array,
    masks: Masks,
    *,
    reverse: bool,
    keep_gates: bool,
) -> tuple[Array, Array, Gates | None]:
    """`h_last [B, H]`, and the states after all steps and their gates, `[T, B, H]`."""
    x_r, x_z, x_n = projected
    dtype = params.w_h.dtype
    tiles = cut(*x_r.shape, dtype)

    def row(array: Array) -> Array:
        return tiles.pad_units(jnp.broadcast_to(array.astype(jnp.float32), (1, h0.shape[-1])))

    set_to = None if masks.starts is None else reset_state
    operands = Operands(
        in_time=(
            (tiles.pad_steps(x_r), tiles.pad_steps(x_z, jnp.inf), tiles.pad_steps(x_n)),
            _as_column(masks.starts, tiles),
        ),
        of_rows=jax.tree.map(tiles.pad_rows, (h0, set_to, masks.scale)),
        whole=(tiles.pad_weights(params.w_h), *jax.tree.map(row, (params.b_hn, masks.zoneout))),
    )
    gate = jax.ShapeDtypeStruct(tiles.padded, jnp.float32)
    gates = Gates(gate, gate, gate, gate if params.reset_after else None)
    results = Operands(
        in_time=(jax.ShapeDtypeStruct(tiles.padded, dtype), gates if keep_gates else None),
        of_rows=jax.ShapeDtypeStruct(tiles.padded[1:], dtype),
    )
    kernel = partial(_states_kernel, reverse, params.reset_after)
    (hs, kept), h_last = _call(kernel, tiles, reverse, operands, results, x_r.shape)
    return h_last, hs, kept


def walk_adjoints(
    params: GRUParams,
    factors: Factors,  # float32
    d_last: Array,
    d_hs: Array,
    masks: Masks,
    *,
    reverse: bool,  # of the states' walk, against which this one goes
) -> tuple[Array, Array | None, Array, Array]:
    """λ, and q without reset_after, `[T, B, H]`; the gradients of h0 and of reset_state, `[B, H]`.

    All in float32.
    """
    tiles = cut(*d_hs.shape, params.w_h.dtype)
    u = tiles.pad_steps(factors.update, 1)
    d_hs, d_last = d_hs.astype(jnp.float32), d_last.astype(jnp.float32)
    operands = Operands(
        in_time=(
            tiles.pad_steps(d_hs),
            jax.tree.map(tiles.pad_steps, factors)._replace(update=u),
            _as_column(masks.starts, tiles),
        ),
        of_rows=jax.tree.map(tiles.pad_rows, (d_last, masks.scale)),
        whole=tiles.pad_weights(params.w_h.swapaxes(1, 2)),
    )
    in_time = jax.ShapeDtypeStruct(tiles.padded, jnp.float32)
    of_rows = jax.ShapeDtypeStruct(tiles.padded[1:], jnp.float32)
    results = Operands(
        in_time=(in_time, None if params.reset_after else in_time),
        of_rows=(of_rows, None if masks.starts is None else of_rows),
    )
    kernel = partial(_adjoints_kernel, not reverse, params.reset_after)
    (adjoints, q), (d_h0, d_reset) = _call(
        kernel, tiles, not reverse, operands, results, d_hs.shape
    )
    return adjoints, q, d_h0, jnp.zeros_like(d_h0) if d_reset is None else d_reset


def _as_column(starts: Array | None, tiles: Tiles) -> Array | None:
    """As the kernels read it: not zero where the state is set."""
    return None if starts is None else tiles.pad_column(starts.astype(jnp.float32)[..., None])


def _call(
    kernel: Callable[..., None],
    tiles: Tiles,
    backwards: bool,
    operands: Operands,
    results: Operands,
    shape: tuple[int, ...],  # T, B, H without the padding
) -> tuple[Any, Any]:
    """Runs `kernel(*operands, *results)` over all of time, and cuts the padding off."""
    length, rows, _ = tiles.block
    blocks = tiles.grid[1]

    def in_time(array: Any) -> pl.BlockSpec:
        def index(tile: Array, block: Array) -> tuple[Any, ...]:
            return (blocks - 1 - block if backwards else block), tile, 0

        return pl.BlockSpec((length, rows, array.shape[2]), index)

    def of_rows(array: Any) -> pl.BlockSpec:
        return pl.BlockSpec((rows, array.shape[1]), lambda tile, _: (tile, 0))

    def whole(array: Any) -> pl.BlockSpec:
        here = (0,) * array.ndim
        return pl.BlockSpec(array.shape, lambda *_: here, pipeline_mode=pl.Buffered(1))

    outputs = results.in_time, results.of_rows
    out_in_time, out_of_rows = pl.pallas_call(
        kernel,
        grid=tiles.grid,
        in_specs=(
            jax.tree.map(in_time, operands.in_time),
            jax.tree.map(of_rows, operands.of_rows),
            jax.tree.map(whole, operands.whole),
        ),
        out_specs=(jax.tree.map(in_time, outputs[0]), jax.tree.map(of_rows, outputs[1])),
        out_shape=outputs,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=VMEM_BYTES
        ),
    )(*operands)
    steps, batch, hidden = shape
    return (
        jax.tree.map(lambda array: array[:steps, :batch, :hidden], out_in_time),
        jax.tree.map(lambda array: array[:batch, :hidden], out_of_rows),
    )


# --- the kernels: arrays are references here ----------------------------------------------------


def _states_kernel(
    backwards: bool,
    reset_after: bool,
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
    zoneout, scale = (None if mask is None else mask[...] for mask in (zoneout, scale))
    masks = Masks(zoneout=zoneout, scale=scale)

    @pl.when(pl.program_id(1) == 0)
    def _begin() -> None:
        h_last[...] = h0[...]

    def step(t: Array) -> None:
        h = h_last[...].astype(jnp.float32)
        if starts is not None:
            h = jnp.where(starts[t] != 0, reset_state[...].astype(jnp.float32), h)
        x_r, x_z, x_n = (of_gate[t] for of_gate in projected)
        seen = masks.seen(h).astype(w_h.dtype)
        reset = jax.nn.sigmoid(x_r + _matmul(seen, w_h[0]))
        update = jax.nn.sigmoid(x_z + _matmul(seen, w_h[1]))
        # Exactly 1, however a TPU rounds the logistic function.
        update = jnp.where(x_z == jnp.inf, 1, update)
        product = None
        if reset_after:
            product = _matmul(seen, w_h[2]) + b_hn[...]
            candidate = jnp.tanh(x_n + reset * product)
        else:
            reset_h = (reset * seen).astype(w_h.dtype)
            candidate = jnp.tanh(x_n + _matmul(reset_h, w_h[2]) + b_hn[...])
        h = update_state(GRUGates(reset, masks.expected_update(update), candidate), h)
        h_last[...] = hs[t] = h.astype(hs.dtype)
        if kept is not None:
            _write(kept, t, Gates(reset, update, candidate, product))

    _for_each_step(hs.shape[0], backwards, step)


def _adjoints_kernel(
    backwards: bool,
    reset_after: bool,
    in_time: Any,
    of_rows: Any,
    w_h_t: Any,
    out_in_time: Any,
    out_of_rows: Any,
) -> None:
    d_hs, factors, starts = in_time
    d_last, scale = of_rows
    adjoints, qs = out_in_time
    d_h, d_reset = out_of_rows

    @pl.when(pl.program_id(1) == 0)
    def _begin() -> None:
        d_h[...] = d_last[...]
        if d_reset is not None:
            d_reset[...] = jnp.zeros_like(d_reset)

    def step(t: Array) -> None:
        u, to_reset, to_update, to_product, reset = jax.tree.map(lambda of: of[t], factors)
        adjoints[t] = adjoint = d_h[...] + d_hs[t]
        d_z, d_product = adjoint * to_update, adjoint * to_product
        d_seen = _matmul(d_product, w_h_t[2])
        if reset_after:
            d_r = adjoint * to_reset
        else:
            qs[t] = q = d_seen
            d_r, d_seen = q * to_reset, q * reset
        d_seen = d_seen + _matmul(d_r, w_h_t[0]) + _matmul(d_z, w_h_t[1])
        d_before = adjoint * u + (d_seen if scale is None else scale[...] * d_seen)
        if starts is not None:
            was_set = starts[t] != 0
            d_reset[...] += jnp.where(was_set, d_before, 0)
            d_before = jnp.where(was_set, 0, d_before)
        d_h[...] = d_before

    _for_each_step(d_hs.shape[0], backwards, step)


def _for_each_step(length: int, backwards: bool, step: Callable[[Array], None]) -> None:
    def body(index: Array, carry: None) -> None:
        step(length - 1 - index if backwards else index)

    lax.fori_loop(0, length, body, None)


def _matmul(x: Array, w: Array) -> Array:
    """`x·w` in float32, with all bits of `w`."""
    precision = lax.Precision.HIGHEST if w.dtype == jnp.float32 else lax.Precision.DEFAULT
    return jnp.matmul(
        x.astype(w.dtype), w, precision=precision, preferred_element_type=jnp.float32
    )


def _write(references: Any, t: Array, values: Any) -> None:
    for reference, value in zip(
        jax.tree.leaves(references), jax.tree.leaves(values), strict=True
    ):
        reference[t] = value
