"""How sequences are cut for the kernels for TPUs, and padded to what a TPU's registers hold.

Units are padded to multiples of 128, rows to multiples of 8, of 16 in bfloat16, and time to a
multiple of the block. Steps of padding do not exist, and units of padding have weights of zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations.gates import Gates
from grujax.implementations.passes import Inputs
from grujax.implementations.types import Masks
from grujax.params import GRUParams

LANES = 128
MOST_ROWS = 256  # in a tile: no matrix unit is higher
MOST_STEPS = 32  # in a block: nothing hides the transfer of the first one
# In numbers. Up to ten blocks of [T, B, H] are in VMEM, each twice, and as many steps' temporaries.
STEP_SIZE = 2**18
BLOCK_SIZE = 2**17


class Tiles(NamedTuple):
    """Sizes, each in the order T, B, H."""

    own: tuple[int, int, int]
    padded: tuple[int, int, int]
    block: tuple[int, int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """The number of tiles of rows, and of blocks of time."""
        return self.padded[1] // self.block[1], self.padded[0] // self.block[0]

    def pad_inputs(self, inputs: Inputs) -> Inputs:
        params, xs, h0, reset_state = inputs
        steps, batch, units = self.padded
        padded = GRUParams(
            w_x=_pad(params.w_x, (3, params.input_size, units)),
            w_h=_pad(params.w_h, (3, units, units)),
            b_x=_pad(params.b_x, (3, units)),
            b_hn=_pad(params.b_hn, (units,)),
            reset_after=params.reset_after,
        )
        xs = _pad(xs, (steps, batch, params.input_size))
        return Inputs(padded, xs, self.pad_rows(h0), self.pad_rows(reset_state))

    def pad_masks(self, masks: Masks) -> Masks:
        exists = masks.exists
        if exists is None and self.padded[0] > self.own[0]:
            exists = jnp.ones(self.own[:2], bool)
        exists, starts = jax.tree.map(
            lambda mask: _pad(mask, self.padded[:2]), (exists, masks.starts)
        )
        return Masks(
            exists=exists,
            starts=starts,
            keeps=jax.tree.map(self.pad_steps, masks.keeps),
            zoneout=masks.zoneout,
            scale=jax.tree.map(self.pad_rows, masks.scale),
        )

    def pad_gates(self, gates: Gates) -> Gates:
        padded = jax.tree.map(self.pad_steps, gates)
        return padded._replace(update=_pad(gates.update, self.padded, 1))

    def pad_steps(self, array: Array) -> Array:
        """`[T, B, H]`."""
        return _pad(array, self.padded)

    def pad_rows(self, array: Array) -> Array:
        """`[B, H]`."""
        return _pad(array, self.padded[1:])


def cut(steps: int, batch: int, hidden: int, dtype: Any) -> Tiles:
    units = _round_up(hidden, LANES)
    sublanes = 32 // jnp.dtype(dtype).itemsize
    most_rows = max(sublanes, min(MOST_ROWS, STEP_SIZE // units) // sublanes * sublanes)
    tiles = -(-batch // most_rows)
    rows = _round_up(-(-batch // tiles), sublanes)
    blocks = -(-steps // max(1, min(MOST_STEPS, BLOCK_SIZE // (rows * units))))
    length = -(-steps // blocks)
    return Tiles(
        own=(steps, batch, hidden),
        padded=(blocks * length, tiles * rows, units),
        block=(length, rows, units),
    )


def _pad(array: Array, shape: tuple[int, ...], value: float = 0) -> Array:
    ends = [(0, size - own) for own, size in zip(array.shape, shape, strict=True)]
    return jnp.pad(array, ends, constant_values=value)


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
