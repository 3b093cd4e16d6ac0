"""The time-major core seen batch-major, `[B, T, I]`: what the Flax views have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from grujax.implementations.layout import batch_major


def run_batch_major(
    run: Callable[..., tuple[Any, Array]],
    xs: ArrayLike,
    h0: Any,
    *,
    lengths: ArrayLike | None,
    resets: ArrayLike | None,
) -> tuple[Any, Array]:
    """Calls `run(xs, h0, lengths=, resets=)`, which is time-major, with batch-major arrays.

    Args:
        run: `gru`, `bidirectional_gru` or `stacked_gru` with its parameters bound.
        xs: `[B, T, I]`; B stands for any number of batch axes, none included.
        h0: as `run` takes it.
        lengths: `[B]` or None.
        resets: `[B, T]` or None.

    Returns:
        `(h_last, hs)` as from `run`, with `hs [B, T, H]`.
    """
    xs = jnp.asarray(xs)
    if xs.ndim < 2:
        raise ValueError(f"`xs` must have shape [B, T, I] or [T, I], got {list(xs.shape)}.")
    if resets is not None:
        resets = jnp.asarray(resets)
        if resets.shape != xs.shape[:-1]:
            raise ValueError(
                f"`resets` has shape {list(resets.shape)} but the batch and time axes of `xs` are "
                f"{list(xs.shape[:-1])}."
            )
        resets = jnp.moveaxis(resets, -1, 0)
    with batch_major():
        h_last, hs = run(jnp.moveaxis(xs, -2, 0), h0, lengths=lengths, resets=resets)
    return h_last, jnp.moveaxis(hs, 0, -2)


def or_learned(h0: Any, learned: Any) -> Any:
    """The initial states of layers and directions: as given, but the learned one for None."""
    if h0 is None:
        return learned
    pairs = (tuple, list)
    if isinstance(learned, pairs) and isinstance(h0, pairs) and len(h0) == len(learned):
        return type(h0)(or_learned(*both) for both in zip(h0, learned, strict=True))
    return h0


def cast(dtype: DTypeLike | None, *trees: Any) -> Any:
    """The floating leaves of `trees` in `dtype`; as they are where it is None."""

    def cast_leaf(leaf: Any) -> Any:
        if dtype is None or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        return jnp.asarray(leaf, dtype)

    return jax.tree.map(cast_leaf, trees)
