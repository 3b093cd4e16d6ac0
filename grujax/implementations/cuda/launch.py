"""Launches of the CUDA kernel: its operands as it takes them, and the call inside XLA's program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.implementations.cuda import nvrtc
from grujax.implementations.cuda.layouts import Layout
from grujax.implementations.passes import Inputs
from grujax.implementations.primitive.model_batch import Stack
from grujax.implementations.types import Masks
from grujax.params import GRUParams


class Operand(NamedTuple):
    """An array, and whether it has a leading axis of models."""

    array: Array
    is_own: bool


class Launch(NamedTuple):
    """One pass over T steps of a batch, and how it is compiled."""

    layout: Layout
    stack: Stack
    steps: int
    batch: int
    dtype: str
    reset_after: bool
    batch_major: bool  # what is [T, B, ...] here lies as [B, T, ...]
    is_inner: bool = False  # the projected inputs are [T, B, models, 3, H]
    keep: bool = False  # the gates
    is_backward: bool = False

    def __call__(
        self,
        operands: Sequence[Operand],
        masks: Masks,
        own: Any,  # which masks have an axis of models
        results: Sequence[jax.ShapeDtypeStruct],
    ) -> Sequence[Array]:
        last = [
            _optional(masks.starts, own.starts, jnp.bool_),
            _optional(masks.scale, own.scale, jnp.float32),
            _optional(masks.zoneout, own.zoneout, jnp.float32),
            _optional(masks.exists, own.exists, jnp.bool_),
        ]
        if not self.is_backward:
            last.append(_optional(masks.keeps, own.keeps, jnp.bool_))
        all_operands = [*operands, *last]
        sizes = jnp.asarray(self._sizes(all_operands))
        arrays = [operand.array for operand in all_operands]
        return call(self, self._definitions(masks), [*arrays, sizes], results)

    @property
    def name(self) -> str:
        return "grujax_backward" if self.is_backward else "grujax_forward"

    @property
    def clusters(self) -> int:
        return self.stack.number * self._tiles

    @property
    def shared_bytes(self) -> int:
        gates = 2 + self.reset_after if self.is_backward else 1
        return self.layout.shared_bytes(gates * self.layout.units)

    @property
    def _tiles(self) -> int:
        return -(-self.batch // self.layout.rows)

    def _sizes(self, operands: Sequence[Operand]) -> np.ndarray:
        """What `gru.cu` calls `sizes`."""
        reverse = self.stack.even + 2 * self.stack.odd
        own = sum(1 << bit for bit, operand in enumerate(operands) if operand.is_own)
        inner = self.stack.number if self.is_inner else 1
        return np.array([self.steps, self.batch, self._tiles, reverse, own, inner], np.int32)

    def _definitions(self, masks: Masks) -> dict[str, int]:
        return {
            **self.layout.definitions(),
            "BACKWARD": int(self.is_backward),
            "RESET_AFTER": int(self.reset_after),
            "BFLOAT16": int(self.dtype == "bfloat16"),
            "BATCH_MAJOR": int(self.batch_major),
            "KEEP_GATES": int(self.keep),
            "STARTS": int(masks.starts is not None),
            "SCALE": int(masks.scale is not None),
            "ZONEOUT": int(masks.zoneout is not None),
            "EXISTS": int(masks.exists is not None),
            "KEEPS": int(masks.keeps is not None),
        }


def call(
    launch: Launch,
    definitions: dict[str, int],
    operands: Sequence[Array],
    results: Sequence[jax.ShapeDtypeStruct],
) -> Sequence[Array]:
    """One launch inside XLA's program.

    No public interface of JAX takes PTX: the target is XLA's own. What it does is tried out before
    its first use (`grujax.implementations.cuda.support`).
    """
    return jax.ffi.ffi_call("__gpu$xla.gpu.ptx", results)(
        *operands,
        name=launch.name,
        kernel_type="ptx",
        kernel_data=nvrtc.compile_to_ptx(definitions),
        grid_x=np.int32(launch.clusters * launch.layout.cluster),
        grid_y=np.int32(1),
        grid_z=np.int32(1),
        block_x=np.int32(launch.layout.threads),
        block_y=np.int32(1),
        block_z=np.int32(1),
        shared_mem_bytes=np.int32(launch.shared_bytes),
    )


def pad_inputs(inputs: Inputs, masks: Masks, units: int) -> tuple[Inputs, Masks]:
    """Zeros for the units that are not there."""
    to_units = partial(pad, units=units)
    params = GRUParams(
        w_x=to_units(inputs.params.w_x),
        w_h=to_units(inputs.params.w_h, axes=2),
        b_x=to_units(inputs.params.b_x),
        b_hn=to_units(inputs.params.b_hn),
        reset_after=inputs.params.reset_after,
    )
    inputs = Inputs(params, inputs.xs, to_units(inputs.h0), to_units(inputs.reset_state))
    return inputs, masks._replace(keeps=to_units(masks.keeps), scale=to_units(masks.scale))


def pad(array: Any, units: int, axes: int = 1) -> Any:
    """`array`, with `units` numbers on each of its last axes; None stays None."""
    if array is None or array.shape[-1] == units:
        return array
    widths = [(0, 0)] * (array.ndim - axes) + [(0, units - array.shape[-1])] * axes
    return jnp.pad(array, widths)


def _optional(array: Array | None, is_own: bool | None, dtype: Any) -> Operand:
    """One number for an operand that is not there."""
    if array is None:
        return Operand(jnp.zeros(1, dtype), False)
    return Operand(jnp.reshape(array, array.shape or 1).astype(dtype), bool(is_own))
