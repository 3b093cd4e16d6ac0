"""Time split into chunks: the inputs of a chunk's K steps are projected by one matmul per gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.implementations.types import RecurrenceArgs


class Chunks(NamedTuple):
    """T steps as `number` chunks of `length` steps, visited in one direction.

    Where they do not divide T, the first chunk visited is partial: only `first_length` of its steps
    are active. The others belong to the next chunk too, and this one carries the state over them.
    """

    steps: int  # T
    number: int
    length: int  # K
    first_length: int
    reverse: bool

    def begin(self, index: Array) -> Array:
        """The time of the first step of the chunk that is visited as number `index`."""
        position = jnp.maximum(0, self.first_length + (index - 1) * self.length)
        return self.steps - self.length - position if self.reverse else position

    def active_mask(self, index: Array) -> Array | None:
        """`[K, 1]` bool: which steps of the chunk are active; None if all are, in every chunk."""
        if self.first_length == self.length:
            return None
        position = jnp.arange(self.length)
        if self.reverse:
            position = position[::-1]
        return ((index > 0) | (position < self.first_length))[:, None]

    def slice_args(self, index: Array, args: RecurrenceArgs) -> RecurrenceArgs:
        """The arguments at the chunk's steps, of which those that are not active are not valid."""
        args = args.map_time(lambda leaf: self.slice_steps(index, leaf))
        active, masks = self.active_mask(index), args.masks
        if active is None:
            return args
        valid = active if masks.valid is None else masks.valid & active
        restart = None if masks.restart is None else masks.restart & active
        return args.replace(masks=masks._replace(valid=valid, restart=restart))

    def slice_steps(self, index: Array, arrays: Any) -> Any:
        """A pytree of `[T, ...]` at the chunk's steps, `[K, ...]`."""
        begin = self.begin(index)
        return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, begin, self.length), arrays)

    def write_steps(self, index: Array, arrays: Any, parts: Any) -> Any:
        """`arrays [T, ...]` with the chunk's `parts [K, ...]` written into them, in their dtype."""
        begin = self.begin(index)

        def write(array: Array, part: Array) -> Array:
            return lax.dynamic_update_slice_in_dim(array, part.astype(array.dtype), begin, 0)

        return jax.tree.map(write, arrays, parts)

    def fold(self, body: Callable[[Array, Any], Any], carry: Any) -> Any:
        """Calls `body(index, carry) -> carry` for each chunk."""
        if self.number == 1:
            return body(jnp.zeros((), jnp.int32), carry)
        return lax.fori_loop(0, self.number, body, carry)


def split_time(steps: int, batch: int, reverse: bool) -> Chunks:
    """Chunks of about 2,048 rows per matmul, and at least 16 steps.

    With fewer rows the matmuls are too small for all cores; with more, a chunk exceeds the caches.
    From T = 256 on a chunk has at most T/16 steps, so that its temporaries stay smaller than `hs`.
    """
    most = steps if steps < 256 else steps // 16
    longest = max(16, min(2048 // batch, most))
    number = -(-steps // longest)
    length = -(-steps // number)
    return Chunks(steps, number, length, steps - (number - 1) * length, reverse)
