"""Checks of the arguments that functions over sequences share."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from grujax.checks import (
    as_array,
    as_arrays,
    as_features,
    as_floating,
    check_integer,
    describe,
    has_an_end,
    is_traced,
)


def as_states(
    h0: ArrayLike | None,
    reset_state: ArrayLike | None,
    resets: ArrayLike | None,
    steps: int,
    shape: tuple[int, ...],
    dtype: DTypeLike,
) -> tuple[Array, Array]:
    """The initial state and the state at a reset, each of this shape `[B, H]` and dtype.

    The state at a reset is `[T, B, H]` if `reset_state` has one for each step. It is the same array
    as the initial state where both are known to be equal, or where nothing is reset.
    """
    if h0 is not None:
        check_reset_state("h0", reset_state, resets)
    state = jnp.zeros(shape, dtype) if h0 is None else _as_state("h0", h0, shape, dtype)
    if reset_state is None or reset_state is h0:
        return state, state
    if h0 is None and type(reset_state) in (int, float) and reset_state == 0:
        return state, state
    after_reset = _as_reset_state(reset_state, steps, shape, dtype)
    return state, state if resets is None else after_reset


def check_reset_state(name: str, reset_state: Any, resets: ArrayLike | None) -> None:
    """Raises ValueError if resets with an initial state, of this name, lack a `reset_state`."""
    if resets is not None and reset_state is None:
        raise ValueError(
            f"`resets` with `{name}` need `reset_state`, the state that a reset goes back to: "
            f"while acting, `{name}` is the state that is carried on, and a reset to it would do "
            f"nothing. Pass `reset_state=0.0` for zeros, or `reset_state={name}` for `{name}`."
        )


def _as_reset_state(
    value: ArrayLike, steps: int, shape: tuple[int, ...], dtype: DTypeLike
) -> Array:
    """`value` broadcast to this shape `[B, H]`; to `[T, B, H]` if it has one axis more."""
    array = as_array("reset_state", value)
    if array.ndim == 0 and jnp.issubdtype(array.dtype, jnp.number):
        array = as_floating("reset_state", array * jnp.ones(shape[-1:], dtype))
    if array.ndim <= len(shape):
        return _as_state("reset_state", array, shape, dtype)
    if array.ndim == len(shape) + 1 and array.shape[0] != steps:
        raise ValueError(
            f"`reset_state` has shape {list(array.shape)}, one axis more than [B, H] = "
            f"{list(shape)}, so that the first must be time, T = {steps}."
        )
    return _as_state("reset_state", array, (steps, *shape), dtype)


def _as_state(name: str, value: ArrayLike, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """`value` broadcast to this shape `[B, H]`, in this dtype; raises ValueError if impossible."""
    state = as_features(name, value, shape[-1], "hidden size")
    leading = (1,) * (len(shape) - state.ndim) + state.shape
    if len(leading) != len(shape) or any(
        got not in (1, want) for got, want in zip(leading, shape, strict=True)
    ):
        raise ValueError(
            f"`{name}` has shape {list(state.shape)} and does not broadcast against [B, H] = "
            f"{list(shape)}, B from `xs` and H from `params`."
        )
    return jnp.broadcast_to(state.astype(dtype), shape)


def check_lengths(lengths: ArrayLike, steps: int, batch: tuple[int, ...]) -> Array:
    """`lengths` as an array; raises ValueError unless shape and concrete values match `xs`."""
    array = as_array("lengths", lengths)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"`lengths` must be integers, got {array.dtype.name}.")
    if array.shape != batch:
        raise ValueError(
            f"`lengths` has shape {list(array.shape)} but the batch axes of `xs` are {list(batch)}."
        )
    # Under jit, `array` is traced even if `lengths` is a constant.
    if _is_known(lengths) and array.size:
        values = np.asarray(lengths)  # jnp.min would be traced too
        shortest, longest = values.min(), values.max()
        if shortest < 0 or longest > steps:
            raise ValueError(
                f"`lengths` must lie in [0, T] with T = {steps} steps in `xs`, got values from "
                f"{shortest} to {longest}."
            )
    return array


def check_mask(mask: ArrayLike, steps: int, batch: tuple[int, ...]) -> Array | None:
    """`mask` as an array, as `check_flags`; None if its values are known, and all are true."""
    array = check_flags("mask", mask, steps, batch)
    return None if _is_known(mask) and np.all(np.asarray(mask)) else array


def check_flags(name: str, value: ArrayLike, steps: int, batch: tuple[int, ...]) -> Array:
    """`value` as an array `[T, B]`, as `xs` have T and B; raises ValueError unless it is bool.

    It broadcasts over batch axes of size 1, and over all that it lacks behind the first.
    """
    array = _as_flags(name, value, steps)
    check_is_bool(name, array)
    flags = _broadcast_flags(array, (steps, *batch))
    if flags is None:
        raise ValueError(
            f"`{name}` has shape {list(array.shape)} but the time and batch axes of `xs` are "
            f"{[steps, *batch]}."
        )
    return flags


def check_reset(value: ArrayLike, batch: tuple[int, ...]) -> Array:
    """`reset` of one step as an array `[B]`, which broadcasts as in `check_flags`."""
    array = as_array("reset", value)
    check_is_bool("reset", array)
    flags = _broadcast_flags(array[None], (1, *batch))
    if flags is None:
        raise ValueError(
            f"`reset` has shape {list(array.shape)} but the batch axes of `x` are {list(batch)}."
        )
    return flags[0]


def _broadcast_flags(array: Array, shape: tuple[int, ...]) -> Array | None:
    """`array` in this shape `[T, B]`; None if it does not fit."""
    if array.shape == shape:
        return array
    missing = len(shape) - array.ndim if array.ndim > 1 else 0
    aligned = (*array.shape, *(1,) * missing)
    if len(aligned) != len(shape) or aligned[0] != shape[0]:
        return None
    if any(got not in (want, 1) for got, want in zip(aligned, shape, strict=True)):
        return None
    return jnp.broadcast_to(array.reshape(aligned), shape)


def check_is_bool(name: str, array: Array) -> None:
    """Raises ValueError if flags have another dtype."""
    if array.dtype != jnp.bool_:
        raise ValueError(
            f"`{name}` must be bool, got {array.dtype.name}: pass `{name}.astype(bool)`."
        )


def _as_flags(name: str, value: Any, steps: int) -> Array:
    """`value` as an array; raises ValueError if it is a tree, with flags for parts of a state."""
    is_list = isinstance(value, list | tuple) and len(value) != steps
    is_tree = has_an_end(value) and (is_list or isinstance(value, Mapping))
    if is_tree and any(map(np.ndim, jax.tree.leaves(value))):
        raise ValueError(
            f"`{name}` must be one bool array [T, B], because a flag acts on the whole state of a "
            f"row, got {describe(value)}. For parts of the state of a cell, pass flags in `xs`, "
            "and let the cell apply them."
        )
    return as_array(name, value)


def _is_known(value: ArrayLike) -> bool:
    """Whether this process can read all entries of an array.

    It cannot under `jit`, nor where other processes hold some of them.
    """
    return not any(
        is_traced(leaf) or not getattr(leaf, "is_fully_addressable", True)
        for leaf in jax.tree.leaves(value)
    )


def leading_axes(
    xs: Any,
    state0: Any,
    lengths: ArrayLike | None,
    mask: ArrayLike | None,
    resets: ArrayLike | None,
) -> tuple[int, tuple[int, ...]]:
    """T and the batch axes of the arguments of `scan_cell`; raises ValueError unless all agree."""
    leaves = jax.tree.leaves(xs)
    if not leaves or any(leaf.ndim == 0 for leaf in leaves):
        raise ValueError("`xs` must hold at least one array, and each must have a time axis.")
    steps = leaves[0].shape[0]
    batch: tuple[int, ...] = ()  # without these three, batch axes need not be known
    if lengths is not None:
        batch = as_array("lengths", lengths).shape
    else:
        given = {"mask": mask, "resets": resets}
        shapes = [
            _as_flags(name, flags, steps).shape[1:]
            for name, flags in given.items()
            if flags is not None
        ]
        longest = max(shapes, key=len, default=())
        # An axis of size 1 broadcasts, so its size is that of `xs`.
        batch = tuple(
            of_xs if size == 1 and of_xs is not None else size
            for size, of_xs in zip_longest(longest, leaves[0].shape[1 : 1 + len(longest)])
        )
    for leaf in leaves:
        if leaf.shape[: 1 + len(batch)] != (steps, *batch):
            raise ValueError(
                f"`xs` holds an array of shape {list(leaf.shape)}, expected the leading axes "
                f"[T, B] = {[steps, *batch]} of its first array, and of `lengths`, `mask` or "
                "`resets`."
            )
    for leaf in jax.tree.leaves(state0):
        if leaf.shape[: len(batch)] != batch:
            raise ValueError(
                f"`state0` holds an array of shape {list(leaf.shape)}, expected the leading axes "
                f"B = {list(batch)} of `lengths`, `mask` or `resets`."
            )
    return steps, batch


def like_state(value: Any, state0: Any, steps: int) -> Any:
    """`value` broadcast to the shapes and dtypes of `state0`; raises ValueError if it cannot be.

    An array with one axis more than that of `state0` has one state for each step.
    """
    value = as_arrays("reset_state", value)
    structure: Any = jax.tree.structure(state0)
    if serves_every_state(value):
        value = jax.tree.map(lambda _: value, state0)
    if jax.tree.structure(value) != structure:
        raise ValueError(
            f"`reset_state` must have the structure of `state0`, {structure}, got "
            f"{jax.tree.structure(value)}."
        )

    def broadcast(array: Array, like: Array) -> Array:
        has_time = array.ndim == like.ndim + 1 and array.shape[0] == steps
        shape = (steps, *like.shape) if has_time else like.shape
        try:
            return jnp.broadcast_to(array, shape).astype(like.dtype)
        except ValueError:
            raise ValueError(
                f"`reset_state` holds an array of shape {list(array.shape)}, which does not "
                f"broadcast against {list(like.shape)} in `state0`."
            ) from None

    return jax.tree.map(broadcast, value, state0)


def serves_every_state(reset_state: Any) -> bool:
    """Whether this is a number, or one array `[H]`, for every layer, direction or part of a state.

    Lists and tuples have the structure of the states.
    """
    return not isinstance(reset_state, list | tuple | Mapping) and np.ndim(reset_state) <= 1


def check_stop_gradient_every(every: Any) -> int | None:
    """Raises ValueError unless `every` is a positive integer or None."""
    if every is None:
        return None
    return check_integer("stop_gradient_every", every)
