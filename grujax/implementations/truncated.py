"""Truncated backpropagation through time, for any implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations.derivatives import of_each
from grujax.implementations.layout import batch_major
from grujax.implementations.padding import pad_axis
from grujax.implementations.types import RecurrenceArgs

Run = Callable[[list[RecurrenceArgs]], list[tuple[Array, Array]]]


def truncate(run: Run, every: int) -> Run:
    """`run`, with no gradient between step `every·i` and step `every·i − 1`.

    Segments run one after the other; those of full length are one scan. The gradient is not cut in
    the padding, so `h_last` belongs to the row's own last segment. Where `jax.export` leaves T
    symbolic, the last segment is padded to full length.
    """

    def run_one(args: RecurrenceArgs) -> tuple[Array, Array]:
        (outputs,) = run([args])
        return outputs

    def run_truncated(args: RecurrenceArgs) -> tuple[Array, Array]:
        steps = args.xs.shape[0]
        if not isinstance(steps, int):
            h, hs = run_segments(_pad_time(args, (steps + every - 1) // every * every))
            return h, hs[:steps]
        return run_one(args) if steps <= every else run_segments(args)

    def run_segments(args: RecurrenceArgs) -> tuple[Array, Array]:
        steps = args.xs.shape[0]
        number, rest = divmod(steps, every)
        full = jax.tree.map(
            lambda a: a[: number * every].reshape(number, every, *a.shape[1:]), args.in_time
        )
        partial = jax.tree.map(lambda a: a[number * every :], args.in_time)
        cuts = _cuts_before(args.masks.valid, steps, args.h0.ndim - 1, every, args.reverse)

        def run_segment(h: Array, segment: Any) -> tuple[Array, Array]:
            in_time, cut = segment
            h = jnp.where(cut[..., None], jax.lax.stop_gradient(h), h)
            with batch_major(False):  # inputs of a scan are time-major, whatever the caller's are
                return run_one(args.with_time(in_time).replace(h0=h))

        def run_full(h: Array) -> tuple[Array, Array]:
            h, hs = jax.lax.scan(run_segment, h, (full, cuts[:number]), reverse=args.reverse)
            return h, hs.reshape(number * every, *hs.shape[2:])

        if rest == 0:
            return run_full(args.h0)
        if args.reverse:
            h, hs_partial = run_segment(args.h0, (partial, cuts[-1]))
            h, hs_full = run_full(h)
        else:
            h, hs_full = run_full(args.h0)
            h, hs_partial = run_segment(h, (partial, cuts[-1]))
        return h, jnp.concatenate([hs_full, hs_partial])

    return of_each(run_truncated)


def _cuts_before(
    valid: Array | None, steps: int, batch_axes: int, every: int, reverse: bool
) -> Array:
    """`[segments, B or 1...]` bool: whether the gradient stops where a segment is entered."""
    if valid is None:
        valid = jnp.ones((steps, *(1,) * batch_axes), bool)
    boundaries = valid[::every]  # the step after each boundary; before the first there is none
    nowhere = jnp.zeros_like(boundaries[:1])
    return jnp.concatenate([boundaries[1:], nowhere] if reverse else [nowhere, boundaries[1:]])


def _pad_time(args: RecurrenceArgs, steps: int) -> RecurrenceArgs:
    """The same recurrence over more steps, of which the new ones are not valid."""
    masks = args.masks
    if masks.valid is None:
        masks = masks._replace(valid=jnp.ones((args.xs.shape[0], *args.h0.shape[:-1]), bool))
    return args.replace(masks=masks).map_time(lambda array: pad_axis(array, 0, steps))
