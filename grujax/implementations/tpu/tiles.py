"""How sequences are tiled for the kernels for TPUs, and padded to the registers of a TPU.

Units are padded to multiples of 128, rows to multiples of 8, of 16 in bfloat16, and time to a
multiple of the block. Padded steps are not valid, and padded units have weights of zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations.padding import pad_axis, pad_units
from grujax.implementations.types import GateResiduals, RecurrenceArgs

LANES = 128
MOST_ROWS = 256  # per tile: no matrix unit is higher
MOST_STEPS = 32  # per block: nothing hides the transfer of the first block
# In numbers. VMEM holds up to ten blocks [T, B, H], each twice, and temporaries of as many steps.
STEP_SIZE = 2**18
BLOCK_SIZE = 2**17


class Tiles(NamedTuple):
    """Sizes, each in the order T, B, H."""

    unpadded: tuple[int, int, int]
    padded: tuple[int, int, int]
    block: tuple[int, int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """The number of tiles of rows, and of blocks of time."""
        return self.padded[1] // self.block[1], self.padded[0] // self.block[0]

    def pad_args(self, args: RecurrenceArgs) -> RecurrenceArgs:
        """The arguments padded in T, B and H; the added steps are not valid."""
        steps, batch, units = self.padded
        masks = args.masks
        if masks.valid is None and steps > self.unpadded[0]:
            masks = masks._replace(valid=jnp.ones(self.unpadded[:2], bool))
        args = pad_units(args.replace(masks=masks), units)
        args = args.map_batch(lambda array, axis: pad_axis(array, axis, batch))
        return args.map_time(lambda array: pad_axis(array, 0, steps))

    def pad_gates(self, gates: GateResiduals) -> GateResiduals:
        """The gates padded so that the added steps carry the state."""
        padded = jax.tree.map(self.pad_steps, gates)
        return padded._replace(update=self.pad_steps(gates.update, 1))

    def pad_steps(self, array: Array, value: float = 0) -> Array:
        """`array [T, B, H]` padded with `value`."""
        for axis, size in enumerate(self.padded):
            array = pad_axis(array, axis, size, value)
        return array

    def pad_rows(self, array: Array) -> Array:
        """`[B, H]`."""
        _, batch, units = self.padded
        return pad_axis(pad_axis(array, 0, batch), 1, units)


def choose_tiles(steps: int, batch: int, hidden: int, dtype: Any) -> Tiles:
    """Tiles for a sequence of these sizes."""
    units = _round_up(hidden, LANES)
    sublanes = 32 // jnp.dtype(dtype).itemsize
    most_rows = max(sublanes, min(MOST_ROWS, STEP_SIZE // units) // sublanes * sublanes)
    tiles = -(-batch // most_rows)
    rows = _round_up(-(-batch // tiles), sublanes)
    blocks = -(-steps // max(1, min(MOST_STEPS, BLOCK_SIZE // (rows * units))))
    length = -(-steps // blocks)
    return Tiles(
        unpadded=(steps, batch, hidden),
        padded=(blocks * length, tiles * rows, units),
        block=(length, rows, units),
    )


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
