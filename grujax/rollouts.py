"""Rollouts of reinforcement learning as the sequences that a recurrent network reads.

    step                      t − 1        t        t + 1
    dones[t]                    ·          ■          ·       after step t, the episode is over
    resets[t]                   ·          ·          ■       before step t, an episode starts

An actor observes `dones`; `resets` is what `gru` and every other recurrence here takes.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax import meshes
from grujax.checks import array_leaves, as_array, as_arrays, check_integer

__all__ = ["join_sequences", "resets_from_dones", "split_sequences"]


def resets_from_dones(dones: ArrayLike, first: ArrayLike) -> Array:
    """Shifts dones after the steps to resets before the steps.

    Args:
        dones: `[T, B]`, whether the episode ended after step t, by termination or by truncation;
            bool, or numbers where 0 is false. B stands for any number of batch axes.
        first: `[B]`, whether an episode starts at step 0: `dones[-1]` of the previous rollout, or
            true at the start of the training. A scalar serves all rows.

    Returns:
        `[T, B]` bool, for `resets` of `grujax.gru`.

    Raises:
        ValueError: if `dones` has no time axis, or `first` does not broadcast against `[B]`.

    Example:
        >>> dones = jnp.array([False, True, False, True])
        >>> resets_from_dones(dones, first=True).tolist()
        [True, False, True, False]
    """
    flags, start = _as_bool("dones", dones), _as_bool("first", first)
    if flags.ndim == 0:
        raise ValueError("`dones` must have shape [T, B] or [T], got [].")
    batch = flags.shape[1:]
    if start.ndim > len(batch) or any(
        size not in (1, of) for size, of in zip(start.shape[::-1], batch[::-1], strict=False)
    ):
        raise ValueError(
            f"`first` has shape {list(start.shape)} and does not broadcast against the batch axes "
            f"{list(batch)} of `dones`."
        )
    start = jnp.broadcast_to(start, (1, *batch))
    return jnp.concatenate([start, flags[:-1]])[: flags.shape[0]]


def split_sequences(xs: Any, length: int) -> Any:
    """Cuts a rollout into shorter sequences, each contiguous in time.

    `xs.reshape(length, -1, ...)` has the same shape, but interleaves the steps: its sequence 0
    holds the steps 0, T / length, 2·T / length, and so on.

    Args:
        xs: a pytree of arrays `[T, B, ...]`.
        length: the number of steps of each sequence; it divides T.

    Returns:
        The pytree with arrays `[length, B·T / length, ...]`. Column `i·B + b` holds the steps from
        `i·length` on of row b. `join_sequences` is the inverse.

    Raises:
        ValueError: if an array has fewer than two axes, or `length` does not divide T.

    Example:
        >>> steps = jnp.arange(6)[:, None]  # [T, 1]
        >>> split_sequences(steps, 3).T.tolist()
        [[0, 1, 2], [3, 4, 5]]
    """
    length = check_integer("length", length)

    def split(leaf: Array) -> Array:
        steps, batch, *rest = leaf.shape
        if steps % length:
            raise ValueError(f"`length` must divide the {steps} steps of `xs`, got {length}.")
        parts = steps // length
        cut = meshes.reshape(leaf, (parts, length, batch, *rest), axis=1, to=2)
        return meshes.reshape(jnp.moveaxis(cut, 1, 0), (length, parts * batch, *rest), axis=2, to=1)

    return jax.tree.map(split, _as_rows(xs))


def join_sequences(xs: Any, steps: int) -> Any:
    """Joins the sequences of `split_sequences` to the rollout that they were cut from.

    Args:
        xs: a pytree of arrays `[length, N, ...]`, columns in the order of `split_sequences`.
        steps: T, the number of steps of the rollout; a multiple of the length.

    Returns:
        The pytree with arrays `[T, N·length / T, ...]`.

    Raises:
        ValueError: if an array has fewer than two axes, or the N sequences do not make rows of
            `steps` steps.

    Example:
        >>> xs = jnp.arange(12).reshape(6, 2)  # [T, B]
        >>> bool((join_sequences(split_sequences(xs, 3), steps=6) == xs).all())
        True
    """
    steps = check_integer("steps", steps)

    def join(leaf: Array) -> Array:
        length, columns, *rest = leaf.shape
        if length == 0 or steps % length or columns % (steps // length):
            raise ValueError(
                f"`steps` must be a multiple of the length {length} of `xs`, and its "
                f"{columns} sequences must fill rows of that many steps, got {steps}."
            )
        parts = steps // length
        batch = columns // parts
        cut = meshes.reshape(leaf, (length, parts, batch, *rest), axis=1, to=2)
        return meshes.reshape(jnp.moveaxis(cut, 1, 0), (steps, batch, *rest), axis=2, to=1)

    return jax.tree.map(join, _as_rows(xs))


def _as_bool(name: str, value: ArrayLike) -> Array:
    array = as_array(name, value)
    if not jnp.issubdtype(array.dtype, jnp.bool_) and not _is_number(array):
        raise ValueError(f"`{name}` must be bool, or numbers where 0 is false, got {array.dtype}.")
    return array.astype(bool)


def _is_number(array: Array) -> bool:
    return any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.integer, jnp.floating))


def _as_rows(xs: Any) -> Any:
    """`xs` as a pytree of arrays; raises ValueError unless each has axes of time and batch."""
    xs = as_arrays("xs", xs)
    for leaf in array_leaves("xs", xs):
        if leaf.ndim < 2:
            raise ValueError(
                f"`xs` must hold arrays [T, B, ...], got one of shape {list(leaf.shape)}."
            )
    return xs
