"""How arrays are cut for the kernels for TPUs, and padded to what a TPU's registers hold.

Units are padded to multiples of 128, rows to multiples of 8, of 16 in bfloat16, and time to a
multiple of the block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

LANES = 128
MOST_ROWS = 256  # in a tile: more than a matrix unit is high
MOST_STEPS = 32  # in a block: the first one's transfer hides behind nothing
BLOCK_SIZE = 2**18  # in numbers; up to nine blocks of [T, B, H] are in VMEM, each twice


class Tiles(NamedTuple):
    """The size of a block of `[T, B, H]`, and of the whole when it is padded."""

    block: tuple[int, int, int]
    padded: tuple[int, int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """The number of tiles of rows, and of blocks of time."""
        (length, rows, _), (steps, batch, _) = self.block, self.padded
        return batch // rows, steps // length

    def pad_steps(self, array: Array, value: float = 0) -> Array:
        """`array [T, B, H]`."""
        return _pad(array, self.padded, value)

    def pad_column(self, array: Array) -> Array:
        """`array [T, B, 1]`."""
        return _pad(array, (*self.padded[:2], 1))

    def pad_rows(self, array: Array) -> Array:
        """`array [B, H]`."""
        return _pad(array, self.padded[1:])

    def pad_units(self, array: Array) -> Array:
        """`array [1, H]`."""
        return _pad(array, (1, self.padded[2]))

    def pad_weights(self, array: Array) -> Array:
        """`array [3, H, H]`."""
        return _pad(array, (3, self.padded[2], self.padded[2]))


def cut(steps: int, batch: int, hidden: int, dtype: Any) -> Tiles:
    units = _round_up(hidden, LANES)
    sublanes = 32 // jnp.dtype(dtype).itemsize
    most_rows = max(sublanes, min(MOST_ROWS, BLOCK_SIZE // units) // sublanes * sublanes)
    tiles = -(-batch // most_rows)
    rows = _round_up(-(-batch // tiles), sublanes)
    blocks = -(-steps // max(1, min(MOST_STEPS, BLOCK_SIZE // (rows * units))))
    length = -(-steps // blocks)
    return Tiles((length, rows, units), (blocks * length, tiles * rows, units))


def weight_bytes(hidden: int, dtype: Any) -> int:
    """What the recurrent weights take of VMEM."""
    return 3 * _round_up(hidden, LANES) ** 2 * jnp.dtype(dtype).itemsize


def _pad(array: Array, shape: tuple[int, ...], value: float = 0) -> Array:
    ends = [(0, size - own) for own, size in zip(array.shape, shape, strict=True)]
    return jnp.pad(array, ends, constant_values=value)


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
