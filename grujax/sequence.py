"""The GRU over time, and the contract for time that every cell and implementation keeps.

    t            0   1   2   3   4   5        lengths = 4, resets at t = 2
    valid        ■   ■   ■   ■   ·   ·        t < lengths
    segments     └─A─┘   └─B─┘                a reset starts a segment *at* its step

    forward      h0 → 0 → 1   s → 2 → 3 → h_last             s = reset_state
    reverse      h_last ← 0 ← 1 ← s   2 ← 3 ← h0

`resets[t]` follows the convention of reinforcement learning, "done at the previous step": the state
is set to `reset_state` before x_t is consumed. In reverse too, the state never crosses the boundary
of a segment, and each row starts at its own last valid step. `hs[t]` belongs to `xs[t]` in both
directions and is zero past the end of the row. `h_last` is the state after the last step taken.

`mask[t]` is false where a step is skipped: the state passes it unchanged, and `hs[t]` holds that
state, which is `reset_state` if `resets[t]` is true.

Truncated backpropagation through time (Williams & Peng 1990). To let gradients reach back at most k
steps within one call, pass `stop_gradient_every=k`. To update the parameters between segments, or
for a sequence that never ends, carry the state by hand:

    h = initial
    for segment in segments:                          # each [k, B, I]
        h, hs = gru(params, segment, jax.lax.stop_gradient(h), resets=..., reset_state=initial)

Here `h0` is the state that the previous segment left, so `reset_state` says what resets go back to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax import implementations, meshes
from grujax.checks import as_arrays, as_features, check_bool, check_callable, check_key
from grujax.implementations import Implementation, split_cells
from grujax.implementations.plain import scan_masked, select
from grujax.implementations.types import RecurrenceArgs, zero_invalid
from grujax.params import GRUParams, check_params
from grujax.regularizers import draw_masks, drop_inputs
from grujax.step_masks import make_step_masks, split_reset_states
from grujax.time_checks import (
    as_states,
    check_reset_state,
    check_stop_gradient_every,
    leading_axes,
    like_state,
)


def gru(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: ArrayLike | None = None,
    reverse: bool = False,
    zoneout: ArrayLike = 0.0,
    recurrent_dropout: ArrayLike = 0.0,
    input_dropout: ArrayLike = 0.0,
    key: Array | None = None,
    stop_gradient_every: int | None = None,
    implementation: Implementation | None = None,
) -> tuple[Array, Array]:
    """Runs a GRU over a sequence.

    Args:
        params: `GRUParams` for input size I and hidden size H.
        xs: `[T, B, I]`, the inputs, of a floating dtype; B stands for any number of batch axes,
            none included. The first axis always is time: for one step of a batch `[B, I]` write
            `xs[None]`, or use `gru_cell`. Pass real and imaginary parts of complex inputs as
            separate features.
        h0: the initial state, broadcast against `[B, H]` (a learned `[H]` works); zeros if None.
        lengths: `[B]` integers in [0, T]: step t of row b is valid iff `t < lengths[b]`. Values in
            the padding, NaN included, change neither outputs nor gradients.
        mask: `[T, B]` bool, which broadcasts over batch axes that it lacks behind the first, and
            over those of size 1. Where false, the step is skipped. The state passes it bit for
            bit, and `hs[t]` holds it. Values of `xs` there, NaN included, change neither outputs
            nor gradients. With `lengths`, `hs` still is zero in the padding. A mask that is known
            to be true everywhere costs nothing.
        resets: `[T, B]` bool, which broadcasts as `mask` does. Where true, the state is set to
            `reset_state` before x_t is consumed, so a reset starts a new segment. Resets in the
            padding have no effect; those of skipped steps have.
        reset_state: the state at resets, broadcast against `[B, H]`; 0.0 means zeros. With one axis
            more it is `[T, B, H]`, a state for each step: step t starts from `reset_state[t]`
            where it is reset, in both directions. That is for pieces of episodes that are packed
            along time, each with a stored state, and runs as "plain" by every implementation, as
            does another state than `h0` with `reverse` and `lengths`. None means zeros, but
            with an `h0` and `resets` it must be given: while acting, `h0` is the state that is
            carried on, and a reset to it would do nothing.
        reverse: run each row from its own last valid step down to step 0.
        zoneout: the rate p, a number in [0, 1), at which each unit keeps its state at each step
            (Krueger et al. 2017). With a `key` (training) `h_t = d ∘ h_{t−1} + (1 − d) ∘ h'`, where
            d ~ Bernoulli(p) is drawn for every row, step and unit; without a key (evaluation) the
            expected update `p·h_{t−1} + (1 − p)·h'`. May be traced.
        recurrent_dropout: the rate p, a number in [0, 1), of dropout on the state as the gates see
            it (Gal & Ghahramani 2016): `m ∘ h_{t−1} / (1 − p)`, with one mask m ~ Bernoulli(1 − p)
            for each row and unit, the same at all steps. The state that the update gate carries is
            not masked. Has no effect without a `key`. May be traced.
        input_dropout: the rate p, a number in [0, 1), of dropout on the inputs (Gal & Ghahramani
            2016): `m ∘ x_t / (1 − p)`, with one mask m ~ Bernoulli(1 − p) for each row and feature,
            the same at all steps. Has no effect without a `key`. May be traced.
        key: a JAX random key for zoneout and both kinds of dropout; None is evaluation mode.
        stop_gradient_every: truncated backpropagation through time: no gradient passes from step
            k·i to step k·i − 1. Outputs do not change; gradients equal those of separate runs over
            the segments.
        implementation: how the recurrence runs; None picks the best for platform and shape.

            - `"plain"`: the reference, `lax.scan` over the equations of `gru_cell`.
            - `"scan"`: pure JAX with a hand-derived gradient; faster, and takes less memory.
            - `"native"`: a C++ kernel for CPUs in float32 and bfloat16. Linux's wheels have it;
              elsewhere `python -m grujax build`, or its first use by name, compiles it.
            - `"cuda"`: a kernel for NVIDIA GPUs, in float32 and bfloat16 up to H = 128 on compute
              capability 7.5 and later; from 9.0 on up to H = 256, in bfloat16 512.
            - `"tpu"`: a kernel for TPUs. It has never run on one, so None does not pick it.
            - `"newton"`: all steps at once, iterated until they agree; see `newton_report`. For
              very long sequences of few units on accelerators; always slower on a CPU.

    Returns:
        `(h_last, hs)`: `h_last [B, H]`, the state after the last step taken (`h0` if none was), and
        `hs [T, B, H]`, the state after each step, `hs[t]` aligned with `xs[t]` in both directions
        and zero in the padding. Both have the promoted dtype of `xs` and `params`; matmuls
        accumulate, and gates are evaluated, in at least float32.

        With `"native"`, every bit of a row's results and gradients depends on that row alone: not
        on the batch around it, nor on the number of threads. The gradients of the weights are sums
        over rows, and may differ by rounding between numbers of threads (in float32, by about 1e-6
        of the largest entry). With `"scan"` and `"plain"`, the batch around a row may change it by
        as much, because XLA chooses the order of a product's sums by its sizes; so may None, which
        picks "scan" for fewer than 8 rows of H > 418 units.

    Raises:
        ValueError: if a shape, dtype, rate or concrete length does not match, or `implementation`
            is unknown or cannot run. Lengths under `jit` cannot be checked; values outside [0, T]
            act as if clipped.

    Example:
        >>> from grujax import init_gru
        >>> params = init_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> h_last, hs = gru(params, jnp.ones((20, 4, 8)), lengths=jnp.array([20, 3, 0, 7]))
        >>> h_last.shape, hs.shape
        ((4, 16), (20, 4, 16))

    Reference:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078; the equations are in `grujax.cell`.
        Zoneout: https://arxiv.org/abs/1606.01305. Dropout of the state and of the inputs:
        https://arxiv.org/abs/1512.05287.
    """
    every = check_stop_gradient_every(stop_gradient_every)
    run = implementations.choose(implementation, every)
    args = prepare_args(
        params,
        xs,
        h0,
        lengths=lengths,
        mask=mask,
        resets=resets,
        reset_state=reset_state,
        reverse=reverse,
        zoneout=zoneout,
        recurrent_dropout=recurrent_dropout,
        key=key,
    )
    (outputs,) = meshes.run_own_rows(run, [drop_inputs(args, key, input_dropout)])
    return outputs


def prepare_args(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None,
    *,
    lengths: ArrayLike | None,
    mask: ArrayLike | None,
    resets: ArrayLike | None,
    reset_state: ArrayLike | None,
    reverse: bool,
    zoneout: ArrayLike,
    recurrent_dropout: ArrayLike,
    key: Array | None,
) -> RecurrenceArgs:
    """Checks the arguments of `gru` and converts them to those of an implementation."""
    check_params(params)
    reverse = check_bool("reverse", reverse)
    if key is not None:
        check_key("key", key)
    inputs = as_features("xs", xs, params.input_size, "input size")
    if inputs.ndim < 2:
        raise ValueError(f"`xs` must have shape [T, B, I] or [T, I], got {list(inputs.shape)}.")
    steps, batch = inputs.shape[0], inputs.shape[1:-1]
    rows = meshes.row_sharding(inputs, 1, len(batch))
    dtype = jnp.result_type(inputs, *jax.tree.leaves(params))
    shape = (*batch, params.hidden_size)
    state, after_reset = as_states(h0, reset_state, resets, steps, shape, dtype)
    masks = make_step_masks(steps, batch, lengths, mask, resets, reverse, rows)
    after_reset, reset_states = split_reset_states(state, after_reset, masks, steps, reverse)

    params, inputs = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, inputs))
    inputs = zero_invalid(masks.reads, rows.place(inputs, 1))
    params = jax.tree.map(rows.place, params)
    masks = draw_masks(masks, key, zoneout, recurrent_dropout, steps, state)
    args = RecurrenceArgs(params, inputs, state, after_reset, masks, reverse, reset_states)
    return args.map_batch(rows.place)


def scan_cell(
    cell: Callable[[Any, Any, Any], Any],
    params: Any,
    xs: Any,
    state0: Any,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Runs any recurrent cell over a sequence, under the same contract for time as `gru`.

    Args:
        cell: `cell(params, state, x) -> state`. The state is any pytree of arrays whose leading
            axes are the batch axes; its structure, shapes and dtypes do not change.
        params: passed to the cell unchanged.
        xs: `[T, B, F]`, or a pytree of arrays with these leading axes `[T, B, ...]`. The cell sees
            zeros in the padding and at skipped steps, so its gradient there must be finite.
        state0: the initial state, a pytree of `[B, ...]`.
        lengths: `[B]` integers, see `gru`.
        mask: `[T, B]` bool: where false, the step is skipped, see `gru`.
        resets: `[T, B]` bool, see `gru`.
        reset_state: the state at resets, as `state0`; must be given with `resets`. A number, or one
            array `[H]`, serves all arrays of the state. An array with a time axis in front has a
            state for each step. See `gru`.
        reverse: run each row from its own last valid step down to step 0.

    Returns:
        `(state_last, states)`: the state after the last step taken, and the states after all steps
        with a leading time axis, zero in the padding.

    Raises:
        ValueError: if the leading axes, or the dtype of `lengths`, `mask` or `resets`, do not
            match, there are `resets` without `reset_state`, or that has another structure than
            `state0`.

    Example:
        >>> def leaky(rate, state, x):
        ...     return rate * state + x
        >>> state_last, states = scan_cell(leaky, 0.5, jnp.ones((3, 1)), jnp.zeros(1))
        >>> states[:, 0].tolist()
        [1.0, 1.5, 1.75]
    """
    check_callable("cell", cell, "(params, state, x) -> state")
    reverse = check_bool("reverse", reverse)
    given_state = state0
    xs, state0 = as_arrays("xs", xs), as_arrays("state0", state0)
    steps, batch = leading_axes(xs, state0, lengths, mask, resets)
    rows = meshes.row_sharding(jax.tree.leaves(xs)[0], 1, len(batch))
    xs = jax.tree.map(lambda leaf: meshes.gather(leaf, 0), xs)
    masks = make_step_masks(steps, batch, lengths, mask, resets, reverse, rows)
    check_reset_state("state0", reset_state, resets)
    after_reset = state0
    if reset_state is not None and reset_state is not given_state:
        given = like_state(reset_state, state0, steps)
        after_reset = state0 if resets is None else given
    after_reset, reset_states = split_reset_states(state0, after_reset, masks, steps, reverse)
    if masks.reads is not None:
        xs = select(masks.reads, xs, jax.tree.map(jnp.zeros_like, xs))

    split = split_cells.find(cell, params, xs, state0)
    if split is not None:
        params = jax.tree.map(rows.place, params)
        args = RecurrenceArgs(params, xs, state0, after_reset, masks, reverse, reset_states)
        return split_cells.run(split, args.map_batch(rows.place))

    def skip_or_run(params: Any, state: Any, inputs: tuple[Any, Array | None]) -> Any:
        x, kept = inputs
        new_state = cell(params, state, x)
        return new_state if kept is None else select(kept[..., 0], state, new_state)

    inputs: Any = (xs, masks.kept)
    args = RecurrenceArgs(params, inputs, state0, after_reset, masks, reverse, reset_states)
    return scan_masked(skip_or_run, args)
