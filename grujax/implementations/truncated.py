"""Truncated backpropagation through time, for any implementation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations.layout import batch_major
from grujax.implementations.types import Masks
from grujax.params import GRUParams


def truncate(run: Any, every: int) -> Any:
    """`run`, with no gradient between step `every·i` and step `every·i − 1`.

    The segments run one after the other, all of full length in one scan. In the padding nothing
    is cut: `h_last` belongs to the row's own last segment.
    """

    def run_segments(
        params: GRUParams, xs: Array, h0: Array, reset_state: Array, masks: Masks, reverse: bool
    ) -> tuple[Array, Array]:
        steps = xs.shape[0]
        if steps <= every:
            return run(params, xs, h0, reset_state, masks, reverse)
        number, rest = divmod(steps, every)
        in_time = (xs, masks.exists, masks.starts, masks.keeps)
        full = jax.tree.map(
            lambda a: a[: number * every].reshape(number, every, *a.shape[1:]), in_time
        )
        partial = jax.tree.map(lambda a: a[number * every :], in_time)
        cuts = _cuts_before(masks.exists, steps, h0.ndim - 1, every, reverse)

        def run_segment(h: Array, inputs: Any) -> tuple[Array, Array]:
            (x, exists, starts, keeps), cut = inputs
            here = masks._replace(exists=exists, starts=starts, keeps=keeps)
            h = jnp.where(cut[..., None], jax.lax.stop_gradient(h), h)
            with batch_major(False):  # a scan's inputs are time-major, whoever made them
                return run(params, x, h, reset_state, here, reverse)

        def run_full(h: Array) -> tuple[Array, Array]:
            h, hs = jax.lax.scan(run_segment, h, (full, cuts[:number]), reverse=reverse)
            return h, hs.reshape(-1, *hs.shape[2:])

        if rest == 0:
            return run_full(h0)
        if reverse:
            h, hs_partial = run_segment(h0, (partial, cuts[-1]))
            h, hs_full = run_full(h)
        else:
            h, hs_full = run_full(h0)
            h, hs_partial = run_segment(h, (partial, cuts[-1]))
        return h, jnp.concatenate([hs_full, hs_partial])

    return run_segments


def _cuts_before(
    exists: Array | None, steps: int, batch_axes: int, every: int, reverse: bool
) -> Array:
    """`[segments, B or 1...]` bool: whether the gradient ends where the walk enters a segment."""
    if exists is None:
        exists = jnp.ones((steps, *(1,) * batch_axes), bool)
    boundaries = exists[::every]  # the step after each boundary, and at first no boundary
    nowhere = jnp.zeros_like(boundaries[:1])
    return jnp.concatenate([boundaries[1:], nowhere] if reverse else [nowhere, boundaries[1:]])
