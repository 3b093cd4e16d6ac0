"""The recurrence as Pallas kernels on TPUs: one for the whole sequence, in either pass.

What does not depend on the state is left to XLA, as matmuls over all steps: the projection of the
inputs before the kernel, the gradients of weights and inputs after it, and the gates between the
passes where they were not kept. In the kernel a step is the state times the recurrent weights, and
the gates; backwards it is the gates' gradients times these weights, and what makes them of the
adjoint. The derivation stands in `grujax.implementations.scan.forward`. State, adjoint and recurrent
weights stay on the chip.

As in the scan, +inf in the update gate's projection carries the state where a step does not exist
or zoneout keeps a unit.

Precision. Matmuls take all bits of float32, which a TPU by default rounds to bfloat16. In bfloat16
their operands are bfloat16, the gradients of the gates too, and their sums float32; gates and the
adjoint are float32, as everywhere.

Memory. Between the two passes as much as the scan keeps, by the same rule. While a pass runs,
beside inputs, outputs and what is kept, in numbers of float32, by XLA's analysis for T = 64,
B = 256 and H = 512:

    forward     3·T·B·H, the projections
    backward    12·T·B·H, of which 4 are the gates' gradients; 17·T·B·H where no gates were kept

That is for the whole sequence: the scan's temporaries are for a chunk.

Limits. The chip's memory, VMEM, holds the recurrent weights up to `MOST_HIDDEN` units. XLA does not
partition such kernels: in a `jit` over several devices the scan runs, unless the call stands inside
`jax.shard_map`.

All this is compiled for TPU v5e and v6e without a device, and has never run on one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from grujax.cell import matmul
from grujax.implementations.gates import Gates, gates_of, pack_gates
from grujax.implementations.passes import Inputs, Kept, Outputs, states_before
from grujax.implementations.tpu.tiles import Tiles, cut
from grujax.implementations.types import Masks, where_exists
from grujax.params import GRUParams

# By dtype: the weights then take 48 MiB of the 128 MiB of VMEM of a TPU v5e or v6e.
MOST_HIDDEN = {"float32": 2048, "bfloat16": 2816}
SUPPORTS = "computes in " + " and ".join(
    f"{dtype} with H ≤ {units}" for dtype, units in MOST_HIDDEN.items()
)


def takes(params: GRUParams, dtype: DTypeLike) -> bool:
    """Whether the kernels run in this dtype and hold this hidden size."""
    return params.hidden_size <= MOST_HIDDEN.get(jnp.dtype(dtype).name, 0)


def may_run() -> bool:
    """By name alone, until it has run on a TPU."""
    return False


def check() -> None:
    """Raises ValueError if this process has no TPU."""
    try:
        jax.local_devices(backend="tpu")
    except RuntimeError:
        raise ValueError(
            '`implementation="tpu"` cannot run; "scan" and "plain" can. This process has no TPU.'
        ) from None


def forward_pass(reverse: bool, keep_gates: bool, inputs: Inputs, masks: Masks) -> Outputs:
    from grujax.implementations.tpu.calls import walk_states

    tiles = _tiles_of(inputs)
    padded, padded_masks = tiles.pad_inputs(inputs), tiles.pad_masks(masks)
    with _precision_for(inputs.xs.dtype):
        h_last, hs, gates = walk_states(
            tiles,
            padded,
            padded_masks,
            _project(padded, padded_masks),
            reverse=reverse,
            keep_gates=keep_gates,
        )
    steps, batch, hidden = tiles.own
    hs, gates = jax.tree.map(lambda array: array[:steps, :batch, :hidden], (hs, gates))
    return h_last[:batch, :hidden], where_exists(masks.exists, hs), gates


def backward_pass(reverse: bool, kept: Kept, d_last: Array, d_hs: Array) -> Inputs:
    from grujax.implementations.tpu.calls import walk_adjoints

    tiles = _tiles_of(kept.inputs)
    inputs, masks = tiles.pad_inputs(kept.inputs), tiles.pad_masks(kept.masks)
    _, _, h0, reset_state = kept.inputs
    before = states_before(reverse, kept.hs, h0, reset_state, kept.masks.starts)
    before = tiles.pad_steps(before)
    seen = masks.seen(before)
    with _precision_for(before.dtype):
        gates = _gates(tiles, kept.gates, inputs, masks, seen)
        d_gates, d_h0, d_reset = walk_adjoints(
            tiles,
            inputs.params,
            masks,
            before,
            gates,
            tiles.pad_rows(d_last),
            tiles.pad_steps(where_exists(kept.masks.exists, d_hs)),
            reverse=reverse,
        )
        d_params = _gradient_of_params(inputs, seen, gates, d_gates)
        d_x = d_gates[..., -3 * tiles.padded[2] :]
        d_xs = matmul(d_x, pack_gates(inputs.params.w_x).T)
    steps, batch, hidden = tiles.own
    params = kept.inputs.params
    gradient = Inputs(
        params=jax.tree.map(lambda d, of: d[tuple(map(slice, of.shape))], d_params, params),
        xs=d_xs[:steps, :batch],
        h0=d_h0[:batch, :hidden],
        reset_state=d_reset[:batch, :hidden],
    )
    return jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, kept.inputs)


def _tiles_of(inputs: Inputs) -> Tiles:
    steps, batch, _ = inputs.xs.shape
    return cut(steps, batch, inputs.h0.shape[-1], inputs.xs.dtype)


def _precision_for(dtype: DTypeLike) -> AbstractContextManager[None]:
    return jax.default_matmul_precision("highest" if dtype == jnp.float32 else "default")


def _project(inputs: Inputs, masks: Masks) -> Array:
    """The inputs' part of the gates r, z and n side by side, `[T, B, 3·H]`, in float32.

    It is +inf for the update gate where the state is kept.
    """
    params, xs, h0, _ = inputs
    hidden = h0.shape[-1]
    projected = matmul(xs, pack_gates(params.w_x)) + params.b_x.reshape(-1)
    if masks.exists is not None:
        is_update = jnp.arange(3 * hidden) // hidden == 1
        projected = jnp.where(~masks.exists[..., None] & is_update, jnp.inf, projected)
    if masks.keeps is not None:
        keeps = jnp.pad(masks.keeps, ((0, 0), (0, 0), (hidden, hidden)))
        projected = jnp.where(keeps, jnp.inf, projected)
    return projected


def _gates(tiles: Tiles, kept: Gates | None, inputs: Inputs, masks: Masks, seen: Array) -> Gates:
    """The gates of all steps, padded."""
    if kept is not None:
        return tiles.pad_gates(kept)
    x_r, x_z, x_n = jnp.split(_project(inputs, masks), 3, axis=-1)
    return gates_of(inputs.params)(seen, (x_r, x_z, x_n))


def _gradient_of_params(inputs: Inputs, seen: Array, gates: Gates, d_gates: Array) -> GRUParams:
    """One matmul each over the whole sequence, in float32; all padded."""
    params, xs, _, _ = inputs
    hidden = seen.shape[-1]
    d_x = d_gates[..., -3 * hidden :]
    if params.reset_after:
        w_h = jnp.roll(_product(seen, d_gates[..., : 3 * hidden], hidden), -1, axis=0)
        b_hn = _sum(d_gates[..., :hidden])
    else:
        reset_h = (gates.reset * seen).astype(seen.dtype)
        w_rz = _product(seen, d_gates[..., : 2 * hidden], hidden)
        w_h = jnp.concatenate([w_rz, _product(reset_h, d_gates[..., 2 * hidden :], hidden)])
        b_hn = _sum(d_gates[..., 2 * hidden :])
    return GRUParams(
        w_x=_product(xs, d_x, hidden),
        w_h=w_h,
        b_x=_sum(d_x).reshape(3, hidden),
        b_hn=b_hn,
        reset_after=params.reset_after,
    )


def _product(operand: Array, gradient: Array, hidden: int) -> Array:
    """`[T, B, N]` and `[T, B, G·H]` to `[G, N, H]`."""
    rows, size = operand.shape[0] * operand.shape[1], operand.shape[2]
    packed = matmul(operand.reshape(rows, size).T, gradient.reshape(rows, -1))
    return packed.reshape(size, -1, hidden).swapaxes(0, 1)


def _sum(gradient: Array) -> Array:
    return gradient.sum((0, 1), dtype=jnp.float32)
