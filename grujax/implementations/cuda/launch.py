"""Launches of the CUDA kernel: its operands, and the call inside XLA's program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.implementations.cuda import nvrtc, ptx_call
from grujax.implementations.cuda.layouts import Layout
from grujax.implementations.primitive.model_batch import ModelBatch
from grujax.implementations.types import StepMasks


class Operand(NamedTuple):
    """An array, and whether it has a leading axis of models."""

    array: Array
    is_batched: Any  # bool


class Launch(NamedTuple):
    """One pass over T steps of a batch, and how it is compiled."""

    architecture: str  # what NVRTC compiles for
    layout: Layout
    models: ModelBatch
    steps: int
    batch: int
    dtype: str
    reset_after: bool
    batch_major: bool  # arrays written [T, B, ...] are [B, T, ...]
    models_inside: bool = False  # the projected inputs are [T, B, models, 3, H]
    keep_gates: bool = False
    is_backward: bool = False

    def __call__(
        self,
        operands: Sequence[Operand],
        masks: StepMasks,
        is_batched: Any,  # which masks have an axis of models
        results: Sequence[jax.ShapeDtypeStruct],
    ) -> Sequence[Array]:
        optional = [
            _optional(masks.restart, is_batched.restart, jnp.bool_),
            _optional(masks.recurrent_dropout_mask, is_batched.recurrent_dropout_mask, jnp.float32),
            _optional(masks.zoneout_rate, is_batched.zoneout_rate, jnp.float32),
            _optional(masks.valid, is_batched.valid, jnp.bool_),
        ]
        if not self.is_backward:
            optional.append(_optional(masks.kept, is_batched.kept, jnp.bool_))
        all_operands = [*operands, *optional]
        sizes = jnp.asarray(self._sizes(all_operands))
        arrays = [operand.array for operand in all_operands]
        return call(self, self._definitions(masks), [*arrays, sizes], results)

    @property
    def name(self) -> str:
        """The kernel's name in `gru.cu`."""
        return "grujax_backward" if self.is_backward else "grujax_forward"

    @property
    def clusters(self) -> int:
        """How many clusters of blocks run."""
        return self.models.number * self._tiles

    @property
    def shared_bytes(self) -> int:
        """The shared memory of each block, in bytes."""
        gates = 2 + self.reset_after if self.is_backward else 1
        return self.layout.shared_bytes(gates * self.layout.units)

    @property
    def _tiles(self) -> int:
        return -(-self.batch // self.layout.rows)

    def _sizes(self, operands: Sequence[Operand]) -> np.ndarray:
        """The kernel's operand `sizes`."""
        batched = sum(1 << bit for bit, operand in enumerate(operands) if operand.is_batched)
        inside = self.models.number if self.models_inside else 1
        sizes = [self.steps, self.batch, self._tiles, self.models.reverse_bits, batched, inside]
        return np.array(sizes, np.int32)

    def _definitions(self, masks: StepMasks) -> dict[str, int]:
        return {
            **self.layout.definitions(),
            "BACKWARD": int(self.is_backward),
            "RESET_AFTER": int(self.reset_after),
            "BFLOAT16": int(self.dtype == "bfloat16"),
            "BATCH_MAJOR": int(self.batch_major),
            "KEEP_GATES": int(self.keep_gates),
            "HAS_RESTART": int(masks.restart is not None),
            "HAS_DROPOUT_MASK": int(masks.recurrent_dropout_mask is not None),
            "HAS_ZONEOUT_RATE": int(masks.zoneout_rate is not None),
            "HAS_VALID": int(masks.valid is not None),
            "KEPT_UNITS": 0 if self.is_backward or masks.kept is None else masks.kept.shape[-1],
        }


def call(
    launch: Launch,
    definitions: dict[str, int],
    operands: Sequence[Array],
    results: Sequence[jax.ShapeDtypeStruct],
) -> Sequence[Array]:
    """One launch inside XLA's program."""
    return ptx_call.call(
        launch.name,
        nvrtc.compile_to_ptx(launch.architecture, definitions),
        launch.clusters * launch.layout.cluster,
        launch.layout.threads,
        launch.shared_bytes,
        operands,
        results,
    )


def _optional(array: Array | None, is_batched: bool | None, dtype: Any) -> Operand:
    """The operand, or a dummy buffer of one number if it is absent."""
    if array is None:
        return Operand(jnp.zeros(1, dtype), False)
    return Operand(jnp.reshape(array, array.shape or 1).astype(dtype), bool(is_batched))
