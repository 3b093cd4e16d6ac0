"""The minimal GRU: gates that do not read the state, so that time runs in parallel.

    z  = σ(x·Wz + bz)                   update gate
    n  = x·Wn + bn                      candidate
    h' = z ∘ h + (1 − z) ∘ n            z = 1 carries the state

Feng et al. write h' = (1 − z) ∘ h + z ∘ n: their z is 1 − z here. Their weights give the same
function with the update gate's row of `w_x` and `b` negated. This is the paper's plain form; its
form in log space, which bounds the candidate from below, is another function.

h' is linear in h. Steps, as pairs (a, b) that map h to a ∘ h + b, compose associatively:

    (a₂, b₂) ∘ (a₁, b₁) = (a₂ ∘ a₁, a₂ ∘ b₁ + b₂)

With a = z and b = (1 − z) ∘ n, a parallel scan gives every step's map from h0 to the state after
it. A step that does not exist is (1, 0), and a step that starts afresh is (0, z ∘ h0 + b).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import ArrayLike, DTypeLike

from grujax.cell import matmul, promote_operands
from grujax.checks import as_states
from grujax.implementations.types import where_exists
from grujax.params import Initializer, as_floating, check_arrays, check_sizes, draw_gates
from grujax.sequence import steps_of_walk

_AXES = {"w_x": (2, "I", "H"), "b": (2, "H")}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MinGRUParams:
    """Parameters of one minimal GRU layer: a pytree of 2·(I·H + H) numbers.

    Attributes:
        w_x: `[2, I, H]`, weights of the update gate and of the candidate.
        b: `[2, H]`, their biases.
    """

    w_x: Array  # [2, I, H]
    b: Array  # [2, H]

    @property
    def input_size(self) -> int:
        return self.w_x.shape[-2]

    @property
    def hidden_size(self) -> int:
        return self.w_x.shape[-1]


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
    """Draws the parameters of one minimal GRU layer; every initialiser is called once per gate.

    Args:
        key: a JAX random key.
        input_size: I.
        hidden_size: H.
        dtype: a floating dtype, of all parameters.
        kernel_init: for each gate's weights `[I, H]`.
        bias_init: for each gate's bias `[H]`.
        update_bias_init: for the update gate's bias alone; `bias_init` if None.

    Returns:
        `MinGRUParams` of the given dtype.

    Raises:
        ValueError: if a size is not a positive integer, or `dtype` is not floating.
    """
    check_sizes(input_size, hidden_size, dtype)
    key_x, key_b = jax.random.split(key)
    biases = [update_bias_init or bias_init, bias_init]
    return MinGRUParams(
        w_x=draw_gates([kernel_init] * 2, key_x, (input_size, hidden_size), dtype),
        b=draw_gates(biases, key_b, (hidden_size,), dtype),
    )


def min_gru_cell(params: MinGRUParams, h: Array, x: Array) -> Array:
    """One step of a minimal GRU; the equations are at the top of this file.

    Args:
        params: `MinGRUParams` for input size I and hidden size H.
        h: `[B, H]`, the state before the step; B stands for any number of batch axes.
        x: `[B, I]`, the input.

    Returns:
        `[B, H]`, the state after the step, in the promoted dtype of `x` and `params`. Matmuls
        accumulate, and gates are evaluated, in at least float32.

    Raises:
        ValueError: if a shape or dtype does not fit.

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
    return (factor * h + addend).astype(h.dtype)


def min_gru(
    params: MinGRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: ArrayLike | None = None,
    reverse: bool = False,
) -> tuple[Array, Array]:
    """Runs a minimal GRU over a sequence, in parallel over time.

    The same as `scan_cell` over `min_gru_cell`, in a number of dependent steps that grows with
    log T. Between the steps it keeps at least float32.

    Args:
        params: `MinGRUParams` for input size I and hidden size H.
        xs: `[T, B, I]`, the inputs; B stands for any number of batch axes, none included.
        h0: the initial state, broadcast against `[B, H]`; zeros if None.
        lengths: `[B]` integers, see `grujax.gru`.
        resets: `[T, B]` bool, see `grujax.gru`.
        reset_state: what resets go back to; `h0` if None. See `grujax.gru`.
        reverse: walk each row from its own last existing step down to 0.

    Returns:
        `(h_last, hs)`, `[B, H]` and `[T, B, H]`, as `grujax.gru`.

    Raises:
        ValueError: if a shape, dtype or concrete length does not fit.

    Example:
        >>> params = init_min_gru(jax.random.key(0), input_size=8, hidden_size=16)
        >>> h_last, hs = min_gru(params, jnp.ones((20, 4, 8)), lengths=jnp.array([20, 3, 0, 7]))
        >>> h_last.shape, hs.shape
        ((4, 16), (20, 4, 16))

    Reference:
        Feng et al. 2024, https://arxiv.org/abs/2410.01201; Blelloch 1990 (the parallel scan)
    """
    check_arrays(params, MinGRUParams, _AXES)
    inputs = as_floating("xs", xs, params.input_size, "input size")
    if inputs.ndim < 2:
        raise ValueError(f"`xs` must have shape [T, B, I] or [T, I], got {list(inputs.shape)}.")
    steps, batch = inputs.shape[0], inputs.shape[1:-1]
    dtype = jnp.result_type(inputs, *jax.tree.leaves(params))
    shape = (*batch, params.hidden_size)
    state, after_reset = as_states(h0, reset_state, shape, dtype, reverse)
    exists, starts = steps_of_walk(steps, batch, lengths, resets, reverse)
    if steps == 0:
        return state, jnp.zeros((0, *state.shape), dtype)

    params, inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (params, inputs))
    factor, addend = _linear_step(params, where_exists(exists, inputs))
    if starts is not None:
        starts = starts[..., None]
        addend = jnp.where(starts, factor * after_reset + addend, addend)
        factor = jnp.where(starts, 0, factor)
    if exists is not None:
        exists = exists[..., None]
        factor, addend = jnp.where(exists, factor, 1), jnp.where(exists, addend, 0)
    factor, addend = jax.lax.associative_scan(_compose, (factor, addend), reverse=reverse)
    hs = (factor * state + addend).astype(dtype)
    h_last = hs[0 if reverse else -1]
    return h_last, hs if exists is None else jnp.where(exists, hs, 0)


def _linear_step(params: MinGRUParams, xs: Array) -> tuple[Array, Array]:
    """`(z, (1 − z) ∘ n)`, each `[..., H]` in at least float32: what a step does to the state."""
    a_z, n = (matmul(xs, w) + b for w, b in zip(params.w_x, params.b, strict=True))
    update = jax.nn.sigmoid(a_z)
    return update, (1 - update) * n


def _compose(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
    return then[0] * first[0], then[0] * first[1] + then[1]
