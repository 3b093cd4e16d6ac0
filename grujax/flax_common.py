"""What `grujax.linen` and `grujax.nnx` share: a batch-major call of a time-major function.

This file does not import Flax.
"""

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
    params: Any,
    xs: ArrayLike,
    h0: Any,
    *,
    learned_h0: Any,
    lengths: ArrayLike | None,
    resets: ArrayLike | None,
    reset_state: Any,
    dtype: DTypeLike | None,
) -> tuple[Any, Array]:
    """Runs a time-major function on batch-major arrays, for a module of Flax.

    Args:
        run: `gru`, `bidirectional_gru` or `stacked_gru`, with the module's options bound.
        params: the parameters that `run` takes.
        xs: `[B, T, I]`; B stands for any number of batch axes, including none.
        h0: the initial state, or a tree of states; see `fill_in_learned`.
        learned_h0: the module's learned initial state, in the structure of `h0`.
        lengths: `[B]` or None.
        resets: `[B, T]` or None.
        reset_state: the state after a reset; passed to `run` only if not None.
        dtype: the dtype of the computation; None promotes inputs and parameters.

    Returns:
        `(h_last, hs)` as `run` returns them, with `hs [B, T, H]`.

    Raises:
        ValueError: if `xs` has fewer than two axes, or `resets` does not match `xs`.
    """
    inputs: Array = jnp.asarray(xs)
    if inputs.ndim < 2:
        raise ValueError(f"`xs` must have shape [B, T, I] or [T, I], got {list(inputs.shape)}.")
    if resets is not None:
        resets = jnp.asarray(resets)
        if resets.shape != inputs.shape[:-1]:
            raise ValueError(
                f"`resets` has shape {list(resets.shape)} but the batch and time axes of `xs` are "
                f"{list(inputs.shape[:-1])}."
            )
        resets = jnp.moveaxis(resets, -1, 0)
    states = fill_in_learned(h0, learned_h0), reset_state
    params, inputs, (h0, reset_state) = cast_floating(dtype, params, inputs, states)
    inputs = jnp.moveaxis(inputs, -2, 0)
    options = {} if reset_state is None else {"reset_state": reset_state}
    with batch_major():
        h_last, hs = run(params, inputs, h0, lengths=lengths, resets=resets, **options)
    return h_last, jnp.moveaxis(hs, 0, -2)


def fill_in_learned(h0: Any, learned_h0: Any) -> Any:
    """Replaces each None in `h0` by the learned initial state in its place.

    Args:
        h0: a state `[B, H]`, a tuple or list of these for directions or layers, or None.
        learned_h0: the learned states `[H]` in the same structure; None where there is none.

    Returns:
        The initial states in the structure of `learned_h0`.
    """
    if h0 is None:
        return learned_h0
    sequence = (tuple, list)
    if isinstance(learned_h0, sequence) and isinstance(h0, sequence) and len(h0) == len(learned_h0):
        return type(h0)(fill_in_learned(*both) for both in zip(h0, learned_h0, strict=True))
    return h0


def cast_floating(dtype: DTypeLike | None, *trees: Any) -> Any:
    """Casts the floating leaves of `trees` to `dtype`; returns `trees` unchanged if it is None."""

    def cast_leaf(leaf: Any) -> Any:
        if dtype is None or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        return jnp.asarray(leaf, dtype)

    return jax.tree.map(cast_leaf, trees)
