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

Truncated backpropagation through time (Williams & Peng 1990). Where gradients shall reach back at
most k steps, `stop_gradient_every=k` cuts them inside one call. Where the parameters are updated
between segments, or a sequence never ends, the state is carried by hand:

    h = initial
    for segment in segments:                          # each [k, B, I]
        h, hs = gru(params, segment, jax.lax.stop_gradient(h), resets=..., reset_state=initial)

`reset_state` says what `resets` go back to, now that `h0` is what the segment before left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax import implementations
from grujax.checks import (
    as_states,
    check_direction,
    check_lengths,
    check_resets,
    check_stop_gradient_every,
    leading_axes,
    like_state,
)
from grujax.implementations.plain import scan_masked, select
from grujax.implementations.types import Masks, Walk, where_exists
from grujax.params import GRUParams, as_floating, check_params
from grujax.regularizers import draw_masks


def gru(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: ArrayLike | None = None,
    reverse: bool = False,
    zoneout: ArrayLike = 0.0,
    recurrent_dropout: ArrayLike = 0.0,
    key: Array | None = None,
    stop_gradient_every: int | None = None,
    implementation: str | None = None,
) -> tuple[Array, Array]:
    """Runs a GRU over a sequence.

    Args:
        params: `GRUParams` for input size I and hidden size H.
        xs: `[T, B, I]`, the inputs; B stands for any number of batch axes, none included.
        h0: the initial state, broadcast against `[B, H]` (a learned `[H]` works); zeros if None.
        lengths: `[B]` integers in [0, T]: step t of row b exists iff `t < lengths[b]`. What lies
            in the padding, NaN included, changes neither outputs nor gradients.
        resets: `[T, B]` bool: where true, the state is set to `reset_state` before x_t is consumed,
            so that a reset starts a new segment. No effect in the padding.
        reset_state: what resets go back to, broadcast against `[B, H]`; `h0` if None. For a
            sequence in pieces, where `h0` is the state that the piece before left behind. Not
            with `reverse`, where no state comes in from another piece.
        reverse: walk each row from its own last existing step down to 0.
        zoneout: the rate p, a number in [0, 1), at which each unit at each step keeps its state
            (Krueger et al. 2017). With a `key` (training) `h_t = d ∘ h_{t−1} + (1 − d) ∘ h'` with
            d ~ Bernoulli(p) drawn anew for every row, step and unit; without one (evaluation) the
            expected update `p·h_{t−1} + (1 − p)·h'`. May be traced.
        recurrent_dropout: the rate p, a number in [0, 1), of dropout on the state as the gates see
            it (Gal & Ghahramani 2016): they see `m ∘ h_{t−1} / (1 − p)`, with one mask
            m ~ Bernoulli(1 − p) for each row and unit, the same at all steps. The state carried
            by the update gate is not masked. Nothing without a `key`. May be traced.
        key: a JAX random key for zoneout and recurrent dropout; None: evaluation mode.
        stop_gradient_every: truncated backpropagation through time: no gradient passes from step
            k·i to step k·i − 1. Outputs do not change; gradients equal those of the segments
            run one by one.
        implementation: how the recurrence runs; None picks the best for the platform. `"native"` is
            a C++ kernel for CPUs in float32 and bfloat16, compiled at its first use; None picks it
            once it has been built (`python -m grujax.kernels`). `"cuda"` is a kernel for NVIDIA
            GPUs from compute capability 9.0 on, in float32 up to H = 256 and
            bfloat16 up to 512; `"tpu"` one for TPUs, by name alone. `"scan"` is the fast one in
            pure JAX, and `"plain"` the reference, `lax.scan` over the equations of `gru_cell`.
            `"newton"` takes all steps at once, again and again until they fit together, and never
            pays on a CPU: it is for very long sequences of few units on accelerators, see
            `newton_report`.

    Returns:
        `(h_last, hs)`: `h_last [B, H]`, the state after the last step of the walk (`h0` where
        there is none), and `hs [T, B, H]`, the state after each step, `hs[t]` aligned with `xs[t]`
        in both directions and zero in the padding. Both have the promoted dtype of `xs` and
        `params`; matmuls accumulate, and gates are evaluated, in at least float32.

    Raises:
        ValueError: if a shape, dtype, rate or concrete length does not fit, or `implementation` is
            unknown or cannot run. Lengths under `jit` cannot be checked: they act as if clipped to
            [0, T].
        TypeError: by JAX, for forward-mode differentiation other than with `"plain"`.

    Example:
        >>> from grujax import init_gru
        >>> params = init_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> h_last, hs = gru(params, jnp.ones((20, 4, 8)), lengths=jnp.array([20, 3, 0, 7]))
        >>> h_last.shape, hs.shape
        ((4, 16), (20, 4, 16))

    Reference:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078; the equations are in `grujax.cell`.
        Zoneout: https://arxiv.org/abs/1606.01305. Recurrent dropout:
        https://arxiv.org/abs/1512.05287.
    """
    every = check_stop_gradient_every(stop_gradient_every)
    run = implementations.choose(implementation, every)
    walk = as_walk(
        params,
        xs,
        h0,
        lengths=lengths,
        resets=resets,
        reset_state=reset_state,
        reverse=reverse,
        zoneout=zoneout,
        recurrent_dropout=recurrent_dropout,
        key=key,
    )
    return run(*walk)


def as_walk(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None,
    *,
    lengths: ArrayLike | None,
    resets: ArrayLike | None,
    reset_state: ArrayLike | None,
    reverse: bool,
    zoneout: ArrayLike,
    recurrent_dropout: ArrayLike,
    key: Array | None,
) -> Walk:
    """Checks the arguments of `gru`, and makes of them those of an implementation."""
    check_params(params)
    inputs = as_floating("xs", xs, params.input_size, "input size")
    if inputs.ndim < 2:
        raise ValueError(f"`xs` must have shape [T, B, I] or [T, I], got {list(inputs.shape)}.")
    steps, batch = inputs.shape[0], inputs.shape[1:-1]
    dtype = jnp.result_type(inputs, *jax.tree.leaves(params))
    shape = (*batch, params.hidden_size)
    state, after_reset = as_states(h0, reset_state, shape, dtype, reverse)
    exists, starts = steps_of_walk(steps, batch, lengths, resets, reverse)
    masks = Masks(exists, starts)
    masks = draw_masks(masks, key, zoneout, recurrent_dropout, steps, state)

    params, inputs = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, inputs))
    inputs = where_exists(exists, inputs)
    return Walk(params, inputs, state, after_reset, masks, reverse)


def scan_cell(
    cell: Callable[[Any, Any, Any], Any],
    params: Any,
    xs: Any,
    state0: Any,
    *,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Runs any recurrent cell over a sequence, under the same contract for time as `gru`.

    Args:
        cell: `cell(params, state, x) -> state`. The state is any pytree of arrays whose leading
            axes are the batch axes; its structure, shapes and dtypes do not change.
        params: handed to the cell as it is.
        xs: `[T, B, F]`, or a pytree of arrays with these leading axes `[T, B, ...]`. The cell sees
            zeros in the padding, so its gradient there must be finite.
        state0: the initial state, a pytree of `[B, ...]`.
        lengths: `[B]` integers, see `gru`.
        resets: `[T, B]` bool, see `gru`.
        reset_state: what resets go back to, as `state0`; `state0` if None. See `gru`.
        reverse: walk each row from its own last existing step down to 0.

    Returns:
        `(state_last, states)`: the state after the last step of the walk, and every step's state
        with a leading time axis, zero in the padding.

    Raises:
        ValueError: if the leading axes, or the dtype of `lengths` or `resets`, do not fit, or
            `reset_state` has another structure than `state0`.

    Example:
        >>> def leaky(rate, state, x):
        ...     return rate * state + x
        >>> state_last, states = scan_cell(leaky, 0.5, jnp.ones((3, 1)), jnp.zeros(1))
        >>> states[:, 0].tolist()
        [1.0, 1.5, 1.75]
    """
    xs, state0 = jax.tree.map(jnp.asarray, (xs, state0))
    steps, batch = leading_axes(xs, state0, lengths, resets)
    exists, starts = steps_of_walk(steps, batch, lengths, resets, reverse)
    after_reset = state0
    if reset_state is not None:
        check_direction(reverse)
        after_reset = like_state(reset_state, state0)
    if exists is not None:
        xs = select(exists, xs, jax.tree.map(jnp.zeros_like, xs))
    return scan_masked(cell, params, xs, state0, after_reset, exists, starts, reverse)


def existing_steps(steps: int, lengths: ArrayLike) -> Array:
    """`[T, B]` bool, time-major: whether step t of row b exists, `t < lengths[b]`."""
    lengths = jnp.asarray(lengths)
    return jnp.arange(steps).reshape(steps, *(1,) * lengths.ndim) < lengths


def steps_of_walk(
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
        exists = existing_steps(steps, check_lengths(lengths, steps, batch))
    if resets is not None:
        starts = check_resets(resets, steps, batch)
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
