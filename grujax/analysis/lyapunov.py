"""Lyapunov exponents of a recurrent network along a driven trajectory.

Tangent vectors Q [H, k] are propagated with the state and repeatedly orthonormalized:

    J_t·Q_{t−1} = Q_t·R_t        λ_i = lim 1/T · Σ_t log |R_t[i, i]|

J_t·Q is k Jacobian-vector products of the cell; no H × H Jacobian is formed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.analysis.states import Cell, at_least_float32, checked_steps
from grujax.cell import gru_cell
from grujax.params import GRUParams
from grujax.sequence import gru


def lyapunov_exponents(
    params: Any,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    num_exponents: int,
    cell: Cell = gru_cell,
    lengths: ArrayLike | None = None,
    warmup: int = 0,
    qr_interval: int = 1,
    key: Array | None = None,
) -> Array:
    """The largest Lyapunov exponents: how fast small changes of the state grow per step.

    If one is positive, the network is chaotic: small differences grow and gradients explode. If all
    are negative, it forgets its past and gradients vanish, in about −1/λ₁ steps.

    Args:
        params: `GRUParams`, or the parameters of `cell`.
        xs: `[T, B, I]`, the inputs that drive the network; zeros for an autonomous one.
        h0: the initial state, broadcast against `[B, H]`. None means zeros, for `GRUParams` only.
        num_exponents: k, between 1 and H.
        cell: any `cell(params, h [H], x [I]) -> [H]`.
        lengths: `[B]`, see `grujax.gru`. A row's exponents are those of its existing steps.
        warmup: the number of initial steps to ignore, in which the state reaches its attractor and
            the tangent vectors align.
        qr_interval: steps between orthonormalizations. Larger is faster; if it is too large, the
            tangent vectors become numerically parallel.
        key: a JAX random key for the initial tangent vectors; `jax.random.key(0)` by default.

    Returns:
        `[B, k]`, descending, in nats per step, in at least float32; NaN for a row that has no step
        after the warm-up. To judge convergence, compare the result with that of T/2 steps.

    Raises:
        ValueError: as `grujax.gru` does; if `num_exponents`, `warmup` or `qr_interval` is out of
            range; or if `h0` is missing for a cell other than `gru_cell`.

    Example:
        >>> def rotate_and_stretch(matrix, h, x):
        ...     return matrix @ h
        >>> matrix = jnp.array([[0.0, 2.0], [-0.5, 0.0]]) @ jnp.diag(jnp.array([3.0, 3.0]))
        >>> exponents = lyapunov_exponents(
        ...     matrix, jnp.zeros((20, 1)), jnp.zeros(2), num_exponents=2, cell=rotate_and_stretch
        ... )
        >>> [round(exponent, 3) for exponent in exponents.tolist()]  # log 3, twice
        [1.099, 1.099]

    Reference:
        Engelken, Wolf & Abbott 2023, https://arxiv.org/abs/2006.02427; Vogt et al. 2022,
        https://arxiv.org/abs/2006.14123; the algorithm is by Benettin et al. 1980.
    """
    params, inputs, state = at_least_float32(params, jnp.asarray(xs), h0)
    if inputs.ndim < 2:
        raise ValueError(f"`xs` must have shape [T, B, I] or [T, I], got {list(inputs.shape)}.")
    steps, batch = inputs.shape[0], inputs.shape[1:-1]
    state = _initial_state(params, cell, inputs, state, batch)
    size = state.shape[-1]
    _check_counts(num_exponents, size, warmup, steps, qr_interval)
    exists = checked_steps(inputs, lengths)

    random_vectors = jax.random.normal(
        jax.random.key(0) if key is None else key, (size, num_exponents), state.dtype
    )
    tangents, _ = jnp.linalg.qr(random_vectors)  # random, as a network may never mix the axes
    run = partial(_growth, cell, params, qr_interval=qr_interval)

    def mean_growth(xs: Array, exists: Array, h: Array) -> Array:
        h, vectors, _ = run(xs[:warmup], exists[:warmup], h, tangents)
        _, _, growth = run(xs[warmup:], exists[warmup:], h, vectors)
        return growth / exists[warmup:].sum()

    for _ in batch:
        mean_growth = jax.vmap(mean_growth, in_axes=(1, 1, 0))
    return -jnp.sort(-mean_growth(inputs, exists, state), axis=-1)


def kaplan_yorke_dimension(exponents: ArrayLike) -> Array:
    """The Kaplan–Yorke estimate of an attractor's dimension from its Lyapunov exponents:

        D = j + (λ_1 + … + λ_j) / |λ_{j+1}|        with the last j where λ_1 + … + λ_j ≥ 0

    Args:
        exponents: `[B, k]`, descending.

    Returns:
        `[B]`. 0 if all exponents are negative, as at a fixed point. k if λ_1 + … + λ_k ≥ 0: if
        k < H, this is only a lower bound, so compute more exponents.

    Example:
        >>> round(kaplan_yorke_dimension(jnp.array([0.4192, -1.6229])).item(), 3)  # the Hénon map
        1.258

    Reference:
        Kaplan & Yorke 1979, https://doi.org/10.1007/BFb0064319
    """
    exponents = jnp.asarray(exponents)
    sums = jnp.cumsum(exponents, axis=-1)
    count = jnp.sum(sums >= 0, axis=-1)  # the sums rise, then fall
    k = exponents.shape[-1]
    last_sum = jnp.take_along_axis(sums, (count - 1).clip(0)[..., None], -1)[..., 0]
    following = jnp.take_along_axis(exponents, count.clip(max=k - 1)[..., None], -1)[..., 0]
    between = (count > 0) & (count < k)
    return count + jnp.where(between, last_sum / jnp.where(between, jnp.abs(following), 1), 0)


def _growth(
    cell: Cell,
    params: Any,
    xs: Array,  # [T, I]
    exists: Array,  # [T]
    h: Array,  # [H]
    tangents: Array,  # [H, k], orthonormal
    *,
    qr_interval: int,
) -> tuple[Array, Array, Array]:
    """Returns the final state, the final tangent vectors, and Σ log |R[i, i]| `[k]`."""
    padding = -xs.shape[0] % qr_interval  # fill the last chunk with steps that do not exist
    xs = jnp.pad(xs, ((0, padding), (0, 0))).reshape(-1, qr_interval, xs.shape[1])
    exists = jnp.pad(exists, (0, padding)).reshape(-1, qr_interval)

    def step(carry, inputs):
        h, vectors = carry  # [H], [k, H]: rows, so that vmap makes one matmul
        x, exists_now = inputs
        next_h, push = jax.linearize(lambda h: cell(params, h, x), h)
        pushed = jax.vmap(push)(vectors)
        return (jnp.where(exists_now, next_h, h), jnp.where(exists_now, pushed, vectors)), None

    def chunk(carry, inputs):
        h, tangents, growth = carry
        (h, vectors), _ = jax.lax.scan(step, (h, tangents.T), inputs)
        tangents, triangle = jnp.linalg.qr(vectors.T)
        return (h, tangents, growth + jnp.log(jnp.abs(jnp.diagonal(triangle)))), None

    zero = jnp.zeros(tangents.shape[1], tangents.dtype)
    return jax.lax.scan(chunk, (h, tangents, zero), (xs, exists))[0]


def _initial_state(
    params: Any, cell: Cell, xs: Array, h0: Array | None, batch: tuple[int, ...]
) -> Array:
    if isinstance(params, GRUParams) and cell is gru_cell:
        return gru(params, xs[:0], h0)[0]  # zero steps return the broadcast h0
    if h0 is None:
        raise ValueError("`h0` must be given with a `cell` other than `gru_cell`.")
    return jnp.broadcast_to(h0, (*batch, h0.shape[-1]))


def _check_counts(num_exponents: int, size: int, warmup: int, steps: int, qr_interval: int) -> None:
    if not 1 <= num_exponents <= size:
        raise ValueError(f"`num_exponents` must be between 1 and H = {size}, got {num_exponents}.")
    if not 0 <= warmup < steps:
        raise ValueError(
            f"`warmup` must be between 0 and T − 1 with T = {steps} steps in `xs`, got {warmup}."
        )
    if qr_interval < 1:
        raise ValueError(f"`qr_interval` must be at least 1, got {qr_interval}.")
