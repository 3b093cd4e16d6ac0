"""The GRU over time, and the one contract for time that every cell and implementation keeps.

    t            0   1   2   3   4   5        lengths = 4, resets at t = 2
    exists       ■   ■   ■   ■   ·   ·        t < lengths
    segments     └─A─┘   └─B─┘                a reset starts a segment *at* its step

    forward      h0 → 0 → 1   h0 → 2 → 3 → h_last
    reverse      h_last ← 0 ← 1 ← h0   2 ← 3 ← h0

`resets[t]` is the convention of reinforcement learning, "done at the previous step": the state is
set to `h0` before x_t is consumed. In reverse too, the state crosses no segment's boundary, and
each row starts at its own last existing step. `hs[t]` belongs to `xs[t]` in both directions and is
zero past the row's end; `h_last` is the state after the last step of the walk.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from grujax import implementations
from grujax.implementations.plain import scan_masked, select
from grujax.params import GRUParams, as_floating, check_params


def gru(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reverse: bool = False,
    implementation: str | None = None,
) -> tuple[Array, Array]:
    """Runs a GRU over a sequence.

    Args:
        params: `GRUParams` for input size I and hidden size H.
        xs: `[T, B, I]`, the inputs; B stands for any number of batch axes, none included.
        h0: the initial state, broadcast against `[B, H]` (a learned `[H]` works); zeros if None.
        lengths: `[B]` integers in [0, T]: step t of row b exists iff `t < lengths[b]`. What lies
            in the padding, NaN included, changes neither outputs nor gradients.
        resets: `[T, B]` bool: where true, the state is set to `h0` before x_t is consumed, so
            that a reset starts a new segment. No effect in the padding.
        reverse: walk each row from its own last existing step down to 0.
        implementation: how the recurrence runs; None picks the best. `"scan"` is the fast one and
            `"plain"` the reference, `lax.scan` over `gru_cell`.

    Returns:
        `(h_last, hs)`: `h_last [B, H]`, the state after the last step of the walk (`h0` where
        there is none), and `hs [T, B, H]`, the state after each step, `hs[t]` aligned with `xs[t]`
        in both directions and zero in the padding. Both have the promoted dtype of `xs` and
        `params`; matmuls accumulate, and gates are evaluated, in at least float32.

    Raises:
        ValueError: if a shape, dtype or concrete length does not fit, or `implementation` is
            unknown. Lengths under `jit` cannot be checked: they act as if clipped to [0, T].

    Example:
        >>> from grujax import init_gru
        >>> params = init_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> h_last, hs = gru(params, jnp.ones((20, 4, 8)), lengths=jnp.array([20, 3, 0, 7]))
        >>> h_last.shape, hs.shape
        ((4, 16), (20, 4, 16))

    Reference:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078; the equations are in `grujax.cell`.
    """
    run = implementations.choose(implementation)
    check_params(params)
    inputs = as_floating("xs", xs, params.input_size, "input size")
    if inputs.ndim < 2:
        raise ValueError(f"`xs` must have shape [T, B, I] or [T, I], got {list(inputs.shape)}.")
    steps, batch = inputs.shape[0], inputs.shape[1:-1]
    dtype = jnp.result_type(inputs, *jax.tree.leaves(params))
    state = _initial_state(h0, (*batch, params.hidden_size), dtype)
    exists, starts = _existing_steps(steps, batch, lengths, resets, reverse)

    params, inputs = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, inputs))
    if exists is not None:
        inputs = jnp.where(exists[..., None], inputs, 0)
    return run(params, inputs, state, exists, starts, reverse)


def scan_cell(
    cell: Callable[[Any, Any, Any], Any],
    params: Any,
    xs: Any,
    state0: Any,
    *,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Runs any recurrent cell over a sequence, under the same contract for time as `gru`.

    Args:
        cell: `cell(params, state, x) -> state`. The state is any pytree of arrays whose leading
            axes are the batch axes; its structure, shapes and dtypes do not change.
        params: handed to the cell as it is.
        xs: `[T, B, F]`, or a pytree of arrays with these leading axes `[T, B, ...]`. The cell sees
            zeros in the padding, so its gradient there must be finite.
        state0: the initial state, a pytree of `[B, ...]`; also what `resets` go back to.
        lengths: `[B]` integers, see `gru`.
        resets: `[T, B]` bool, see `gru`.
        reverse: walk each row from its own last existing step down to 0.

    Returns:
        `(state_last, states)`: the state after the last step of the walk, and every step's state
        with a leading time axis, zero in the padding.

    Raises:
        ValueError: if the leading axes, or the dtype of `lengths` or `resets`, do not fit.

    Example:
        >>> def leaky(rate, state, x):
        ...     return rate * state + x
        >>> state_last, states = scan_cell(leaky, 0.5, jnp.ones((3, 1)), jnp.zeros(1))
        >>> states[:, 0].tolist()
        [1.0, 1.5, 1.75]
    """
    xs, state0 = jax.tree.map(jnp.asarray, (xs, state0))
    steps, batch = _leading_axes(xs, state0, lengths, resets)
    exists, starts = _existing_steps(steps, batch, lengths, resets, reverse)
    if exists is not None:
        xs = select(exists, xs, jax.tree.map(jnp.zeros_like, xs))
    return scan_masked(cell, params, xs, state0, exists, starts, reverse)


def existing_steps(steps: int, lengths: ArrayLike) -> Array:
    """`[T, B]` bool, time-major: whether step t of row b exists, `t < lengths[b]`."""
    lengths = jnp.asarray(lengths)
    return jnp.arange(steps).reshape(steps, *(1,) * lengths.ndim) < lengths


def _existing_steps(
    steps: int,
    batch: tuple[int, ...],
    lengths: ArrayLike | None,
    resets: ArrayLike | None,
    reverse: bool,
) -> tuple[Array | None, Array | None]:
    """Checks `lengths` and `resets`, and aligns them with the direction of the walk.

    Returns `exists` and `starts`, each `[T, B]` bool or None, as implementations take them.
    """
    exists = starts = None
    if lengths is not None:
        exists = existing_steps(steps, _check_lengths(lengths, steps, batch))
    if resets is not None:
        starts = _check_resets(resets, steps, batch)
    if starts is not None and exists is not None:
        starts = starts & exists
    if reverse:
        starts = _starts_in_reverse(exists, starts)
    return exists, starts


def _starts_in_reverse(exists: Array | None, starts: Array | None) -> Array | None:
    """The reverse walk starts afresh at t if the next segment starts, or the padding, at t + 1.

    The state already is `h0` before a row's last existing step. Marking that step all the same
    tells a gradient that reads the previous state from `hs`, where the padding is zero.
    """
    boundaries = ([] if exists is None else [~exists]) + ([] if starts is None else [starts])
    if not boundaries:
        return None
    boundary = reduce(jnp.logical_or, boundaries)
    return jnp.concatenate([boundary[1:], jnp.zeros_like(boundary[:1])])


def _initial_state(h0: ArrayLike | None, shape: tuple[int, ...], dtype) -> Array:
    if h0 is None:
        return jnp.zeros(shape, dtype)
    h0 = as_floating("h0", h0, shape[-1], "hidden size")
    leading = (1,) * (len(shape) - h0.ndim) + h0.shape
    if len(leading) != len(shape) or any(
        got not in (1, want) for got, want in zip(leading, shape, strict=True)
    ):
        raise ValueError(
            f"`h0` has shape {list(h0.shape)} and does not broadcast against [B, H] = "
            f"{list(shape)}, B from `xs` and H from `params`."
        )
    return jnp.broadcast_to(h0.astype(dtype), shape)


def _check_lengths(lengths: ArrayLike, steps: int, batch: tuple[int, ...]) -> Array:
    array = jnp.asarray(lengths)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"`lengths` must be integers, got {array.dtype.name}.")
    if array.shape != batch:
        raise ValueError(
            f"`lengths` has shape {list(array.shape)} but the batch axes of `xs` are {list(batch)}."
        )
    # Under jit, `array` is traced even where `lengths` is a constant.
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(lengths))
    if not traced and array.size:
        values = np.asarray(lengths)  # a jnp.min would be traced too
        shortest, longest = values.min(), values.max()
        if shortest < 0 or longest > steps:
            raise ValueError(
                f"`lengths` must lie in [0, T] with T = {steps} steps in `xs`, got values from "
                f"{shortest} to {longest}."
            )
    return array


def _check_resets(resets: ArrayLike, steps: int, batch: tuple[int, ...]) -> Array:
    array = jnp.asarray(resets)
    if array.dtype != jnp.bool_:
        raise ValueError(f"`resets` must be bool, got {array.dtype.name}.")
    if array.shape != (steps, *batch):
        raise ValueError(
            f"`resets` has shape {list(array.shape)} but the time and batch axes of `xs` are "
            f"{[steps, *batch]}."
        )
    return array


def _leading_axes(
    xs: Any, state0: Any, lengths: ArrayLike | None, resets: ArrayLike | None
) -> tuple[int, tuple[int, ...]]:
    """T and the batch axes of `scan_cell`'s arguments; checks that all leaves have them."""
    leaves = jax.tree.leaves(xs)
    if not leaves or any(leaf.ndim == 0 for leaf in leaves):
        raise ValueError("`xs` must hold at least one array, and each must have a time axis.")
    steps = leaves[0].shape[0]
    batch: tuple[
        int, ...
    ] = ()  # without lengths or resets no axis is special, and none needs a name
    if lengths is not None:
        batch = jnp.shape(lengths)
    elif resets is not None:
        batch = jnp.shape(resets)[1:]
    for leaf in leaves:
        if leaf.shape[: 1 + len(batch)] != (steps, *batch):
            raise ValueError(
                f"`xs` holds an array of shape {list(leaf.shape)}, expected the leading axes "
                f"[T, B] = {[steps, *batch]} of its first array and of `lengths` or `resets`."
            )
    for leaf in jax.tree.leaves(state0):
        if leaf.shape[: len(batch)] != batch:
            raise ValueError(
                f"`state0` holds an array of shape {list(leaf.shape)}, expected the leading axes "
                f"B = {list(batch)} of `lengths` or `resets`."
            )
    return steps, batch
