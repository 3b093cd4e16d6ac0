"""The minimal GRU, whose gates do not depend on the state, so that all steps run in parallel.

    z  = σ(x·Wz + bz)                   update gate
    n  = x·Wn + bn                      candidate
    h' = z ∘ h + (1 − z) ∘ n            z = 1 carries the state

Feng et al. write h' = (1 − z) ∘ h + z ∘ n, so their z is 1 − z here. To use their weights, negate
the update gate's row of `w_x` and `b`. This is the paper's plain form. The paper also has a form in
log space, which is a different function: it bounds the candidate from below.

h' is linear in h. A step is a pair (a, b) that maps h to a ∘ h + b. Steps compose associatively:

    (a₂, b₂) ∘ (a₁, b₁) = (a₂ ∘ a₁, a₂ ∘ b₁ + b₂)

With a = z and b = (1 − z) ∘ n, a parallel scan computes for each step the map from h0 to the state
after that step. A step in the padding, or one that is skipped, is (1, 0). A step that restarts from
a state s is (0, a ∘ s + b). Rounding depends on how the scan groups steps, so the state after a
skipped step is copied from the step before it, by another scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import ArrayLike, DTypeLike

from grujax.baselines.sizes import LayerSizes
from grujax.cell import add_bias, matmul, promote_operands
from grujax.checks import as_features, check_arrays, check_bool
from grujax.implementations.types import StepMasks, zero_invalid
from grujax.jax_support.promotion import match
from grujax.jax_support.pytrees import register
from grujax.meshes import row_sharding
from grujax.params import Initializer, check_drawing, draw_gates
from grujax.step_masks import make_step_masks, split_reset_states
from grujax.time_checks import as_states

_AXES = {"w_x": (2, "I", "H"), "b": (2, "H")}


@register
@dataclass(frozen=True, eq=False)
class MinGRUParams(LayerSizes):
    """Parameters of one minimal GRU layer: a pytree of 2·(I·H + H) numbers.

    Attributes:
        w_x: `[2, I, H]`, input weights of the update gate and of the candidate.
        b: `[2, H]`, biases of the update gate and of the candidate.

    Example:
        >>> params = MinGRUParams(w_x=jnp.ones((2, 4, 3)), b=jnp.zeros((2, 3)))
        >>> params.input_size, params.hidden_size
        (4, 3)
    """

    w_x: Array  #: [2, I, H]
    b: Array  #: [2, H]


def init_min_gru(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    dtype: DTypeLike = jnp.float32,
    kernel_init: Initializer = initializers.lecun_normal(),
    bias_init: Initializer = initializers.zeros,
    update_bias_init: Initializer | None = None,
) -> MinGRUParams:
    """Draws the parameters of one minimal GRU layer. Each initializer is called once per gate.

    Args:
        key: a JAX random key.
        input_size: I, a positive integer.
        hidden_size: H, a positive integer.
        dtype: the floating dtype of all parameters.
        kernel_init: initializes each gate's weights `[I, H]`.
        bias_init: initializes each gate's bias `[H]`.
        update_bias_init: initializes the update gate's bias `[H]`; `bias_init` if None.

    Returns:
        `MinGRUParams` of the given dtype.

    Raises:
        ValueError: if a size is not a positive integer, or `dtype` is not floating.

    Example:
        >>> params = init_min_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> params.w_x.shape, params.b.shape
        ((2, 8, 16), (2, 16))

    Reference:
        Feng et al. 2024, https://arxiv.org/abs/2410.01201
    """
    if update_bias_init is None:
        update_bias_init = bias_init
    check_drawing(
        key,
        dtype,
        {"input_size": input_size, "hidden_size": hidden_size},
        kernel_init=kernel_init,
        bias_init=bias_init,
        update_bias_init=update_bias_init,
    )
    key_x, key_b = jax.random.split(key)
    biases = [update_bias_init, bias_init]
    return MinGRUParams(
        w_x=draw_gates([kernel_init] * 2, key_x, (input_size, hidden_size), dtype),
        b=draw_gates(biases, key_b, (hidden_size,), dtype),
    )


def min_gru_cell(params: MinGRUParams, h: Array, x: Array) -> Array:
    """One step of a minimal GRU.

        z  = σ(x·Wz + bz)
        h' = z ∘ h + (1 − z) ∘ (x·Wn + bn)

    Args:
        params: `MinGRUParams` for input size I and hidden size H.
        h: `[B, H]`, the state before the step; B stands for any number of batch axes.
        x: `[B, I]`, the input.

    Returns:
        `[B, H]`, the state after the step, in the promoted dtype of `x` and `params`. Matmuls
        accumulate and gates are evaluated in at least float32.

    Raises:
        ValueError: if a shape or dtype does not match.

    Example:
        >>> params = init_min_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> min_gru_cell(params, jnp.zeros(16), jnp.ones(8)).shape
        (16,)

    Reference:
        Feng et al. 2024, https://arxiv.org/abs/2410.01201
    """
    check_arrays(params, MinGRUParams, _AXES)
    params, (h,), x = promote_operands(params, {"h": h}, x)
    factor, addend = _linear_step(params, x)
    return (factor * h.astype(factor.dtype) + addend).astype(h.dtype)


def min_gru(
    params: MinGRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: ArrayLike | None = None,
    reverse: bool = False,
) -> tuple[Array, Array]:
    """Runs a minimal GRU over a sequence, in parallel over time.

    Computes the same as `scan_cell` over `min_gru_cell`, with O(log T) dependent steps. The state
    between steps has at least float32 precision.

    Args:
        params: `MinGRUParams` for input size I and hidden size H.
        xs: `[T, B, I]`, the inputs; B stands for any number of batch axes, including none.
        h0: the initial state, broadcast against `[B, H]`; zeros if None.
        lengths: `[B]` integers, see `grujax.gru`.
        mask: `[T, B]` bool: where false, the step is skipped, see `grujax.gru`.
        resets: `[T, B]` bool, see `grujax.gru`.
        reset_state: the state at resets, broadcast against `[B, H]`, or `[T, B, H]`; zeros if
            None, but it must be given with an `h0` and `resets`. See `grujax.gru`.
        reverse: whether to run each row from its last valid step to step 0.

    Returns:
        `(h_last [B, H], hs [T, B, H])`, as `grujax.gru`.

    Raises:
        ValueError: if a shape, a dtype or a concrete length does not match.

    Example:
        >>> params = init_min_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> h_last, hs = min_gru(params, jnp.ones((20, 4, 8)), lengths=jnp.array([20, 3, 0, 7]))
        >>> h_last.shape, hs.shape
        ((4, 16), (20, 4, 16))

    Reference:
        Feng et al. 2024, https://arxiv.org/abs/2410.01201; Blelloch 1990 (the parallel scan)
    """
    check_arrays(params, MinGRUParams, _AXES)
    reverse = check_bool("reverse", reverse)
    inputs = as_features("xs", xs, params.input_size, "input size")
    if inputs.ndim < 2:
        raise ValueError(f"`xs` must have shape [T, B, I] or [T, I], got {list(inputs.shape)}.")
    steps, batch = inputs.shape[0], inputs.shape[1:-1]
    dtype = jnp.result_type(inputs, *jax.tree.leaves(params))
    shape = (*batch, params.hidden_size)
    rows = row_sharding(inputs, 1, len(batch))
    state, after_reset = as_states(h0, reset_state, resets, steps, shape, dtype)
    masks = make_step_masks(steps, batch, lengths, mask, resets, reverse, rows)
    after_reset, reset_states = split_reset_states(state, after_reset, masks, steps, reverse)
    if reset_states is not None:
        after_reset = rows.place(reset_states, 1)
    else:
        after_reset = rows.place(after_reset, 0)
    state = rows.place(state, 0)
    if steps == 0:
        return state, jnp.zeros((0, *state.shape), dtype)

    params, inputs = jax.tree.map(rows.place, params), rows.place(inputs, 1)
    params, inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (params, inputs))
    factor, addend = _linear_step(params, zero_invalid(masks.reads, inputs))
    if masks.reads is not None:
        reads = masks.reads[..., None]
        factor, addend = jnp.where(reads, factor, 1), jnp.where(reads, addend, 0)
    if masks.restart is not None:
        restart = masks.restart[..., None]
        addend = jnp.where(restart, factor * match(after_reset, factor) + addend, addend)
        factor = jnp.where(restart, 0, factor)
    factor, addend = jax.lax.associative_scan(_compose, (factor, addend), reverse=reverse)
    hs = (factor * match(state, factor) + addend).astype(dtype)
    hs = _copy_kept(masks, hs, state, reverse)
    h_last = hs[0 if reverse else -1]
    return h_last, zero_invalid(masks.valid, hs)


def _linear_step(params: MinGRUParams, xs: Array) -> tuple[Array, Array]:
    """The step h → a ∘ h + b: `(a, b) = (z, (1 − z) ∘ n)`, `[..., H]`, in at least float32."""
    a_z, n = (add_bias(matmul(xs, w), b) for w, b in zip(params.w_x, params.b, strict=True))
    update = jax.nn.sigmoid(a_z)
    return update, (1 - update) * n


def _copy_kept(masks: StepMasks, hs: Array, h0: Array, reverse: bool) -> Array:
    """`hs [T, B, H]`, where each skipped step has the state before it, bit for bit."""
    if masks.kept is None:
        return hs
    kept = masks.kept if masks.restart is None else masks.kept & ~masks.restart[..., None]

    def latest(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return first[0] & second[0], jnp.where(second[0], first[1], second[1])

    since_start, states = jax.lax.associative_scan(latest, (kept, hs), reverse=reverse)
    return jnp.where(since_start, match(h0, hs), states)


def _compose(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    return second[0] * first[0], second[0] * first[1] + second[1]
