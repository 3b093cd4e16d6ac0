"""Time cut into chunks, for the scan's two passes: K steps are prepared by one matmul a gate."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import project_inputs
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
    At most T/16, so that a chunk's temporaries stay below `hs`, or 32 where T is below 256.
    """
    most = 32 if steps < 256 else steps // 16
    longest = max(16, min(2048 // batch, most))
    number = -(-steps // longest)
    length = -(-steps // number)
    return Chunks(steps, number, length, steps - (number - 1) * length, reverse)


class Chunk(NamedTuple):
    """What both passes need of one chunk, with steps that do not take part masked."""

    projected: tuple[Array, Array, Array]  # the inputs' part of each gate, [K, B, H]
    exists: Array | None  # [K, B] bool
    starts: Array | None  # [K, B] bool


def prepare_chunk(
    chunks: Chunks,
    index: Array,
    params: GRUParams,
    x: Array,
    exists: Array | None,
    starts: Array | None,
) -> Chunk:
    """Projects a chunk's inputs `x [K, B, I]`; masks what does not exist or take part."""
    takes_part = chunks.takes_part(index)
    if takes_part is not None:
        exists = takes_part if exists is None else exists & takes_part
        starts = None if starts is None else starts & takes_part
    x_r, x_z, x_n = project_inputs(params, x)
    if exists is not None:
        x_z = jnp.where(exists[..., None], x_z, jnp.inf)
    return Chunk((x_r, x_z, x_n), exists, starts)


def slice_steps(begin: Array, length: int, arrays: Any) -> Any:
    return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, begin, length), arrays)


def pack_gates(gates: Array) -> Array:
    """`[G, N, H] -> [N, G·H]`: several gates' matrices side by side, for one matmul."""
    return jnp.concatenate(tuple(gates), axis=-1)
