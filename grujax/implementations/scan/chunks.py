"""Time cut into chunks, for the scan's two passes: K steps are prepared by one matmul a gate."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import project_inputs
from grujax.implementations.gates import Projected
from grujax.implementations.types import Masks
from grujax.params import GRUParams


class Chunks(NamedTuple):
    """Time cut into `number` chunks of `length` steps, walked in one direction.

    The walk's first chunk is made partial where they do not divide T: it takes part in `first`
    steps only, and the steps after these, which are the next chunk's too, are carried over.
    """

    steps: int  # T
    number: int
    length: int  # K
    first: int
    reverse: bool

    def begin(self, index: Array) -> Array:
        """The time at which the walk's chunk `index` begins, in the array."""
        position = jnp.maximum(0, self.first + (index - 1) * self.length)
        return self.steps - self.length - position if self.reverse else position

    def takes_part(self, index: Array) -> Array | None:
        """`[K, 1]` bool: which steps of the chunk take part; None if always all."""
        if self.first == self.length:
            return None
        position = jnp.arange(self.length)
        if self.reverse:
            position = position[::-1]
        return ((index > 0) | (position < self.first))[:, None]

    def walk(self, body: Any, carry: Any) -> Any:
        """Calls `body(index, carry) -> carry` for every chunk."""
        if self.number == 1:
            return body(jnp.zeros((), jnp.int32), carry)
        return lax.fori_loop(0, self.number, body, carry)


def cut_time(steps: int, batch: int, reverse: bool) -> Chunks:
    """The chunk length: about 2,048 rows a matmul, and at least 16 steps.

    With fewer rows the matmuls are too small for all cores; with more a chunk leaves the caches.
    From T = 256 on at most T/16, so that a chunk's temporaries stay below `hs`.
    """
    most = steps if steps < 256 else steps // 16
    longest = max(16, min(2048 // batch, most))
    number = -(-steps // longest)
    length = -(-steps // number)
    return Chunks(steps, number, length, steps - (number - 1) * length, reverse)


class Chunk(NamedTuple):
    """One chunk's part of the inputs, with steps that do not take part masked."""

    begin: Array  # []: the time of its first step
    x: Array  # [K, B, I]
    masks: Masks

    def project_inputs(self, params: GRUParams) -> Projected:
        """The inputs' part of each gate, +inf for the update gate where the state is kept."""
        x_r, x_z, x_n = project_inputs(params, self.x)
        for kept in (self.does_not_exist(), self.masks.keeps):
            if kept is not None:
                x_z = jnp.where(kept, jnp.inf, x_z)
        return x_r, x_z, x_n

    def does_not_exist(self) -> Array | None:
        """`[K, B or 1, 1]` bool, or None."""
        return None if self.masks.exists is None else ~self.masks.exists[..., None]


def prepare_chunk(chunks: Chunks, index: Array, xs: Array, masks: Masks) -> Chunk:
    begin = chunks.begin(index)
    x, exists, starts, keeps = slice_steps(
        begin, chunks.length, (xs, masks.exists, masks.starts, masks.keeps)
    )
    takes_part = chunks.takes_part(index)
    if takes_part is not None:
        exists = takes_part if exists is None else exists & takes_part
        starts = None if starts is None else starts & takes_part
    return Chunk(begin, x, masks._replace(exists=exists, starts=starts, keeps=keeps))


def slice_steps(begin: Array, length: int, arrays: Any) -> Any:
    return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, begin, length), arrays)


def write_steps(begin: Array, arrays: Any, parts: Any) -> Any:
    """`arrays [T, ...]` with a chunk's `parts [K, ...]` written into them, in their dtype."""

    def write(array: Array, part: Array) -> Array:
        return lax.dynamic_update_slice_in_dim(array, part.astype(array.dtype), begin, 0)

    return jax.tree.map(write, arrays, parts)
