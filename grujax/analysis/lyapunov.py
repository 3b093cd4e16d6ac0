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

from grujax import meshes
from grujax.analysis.checks import (
    at_least_float32,
    check_function,
    check_next_state,
    check_steps,
)
from grujax.analysis.numerics import sort_descending
from grujax.analysis.states import Cell, checked_steps
from grujax.cell import gru_cell
from grujax.checks import as_array, as_floating, check_integer, check_key
from grujax.jax_support.lapack import one_matrix_at_a_time
from grujax.params import check_params
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
        xs: `[T, B, I]`, the inputs that drive the network; zeros for an autonomous one. At least
            one step.
        h0: the initial state, broadcast against `[B, H]`. None means zeros, for `gru_cell` only.
        num_exponents: k, between 1 and H.
        cell: any `cell(params, h [H], x [I]) -> [H]`.
        lengths: `[B]`, see `grujax.gru`. A row's exponents are those of its existing steps.
        warmup: the number of initial steps to ignore, in which the state reaches its attractor and
            the tangent vectors align.
        qr_interval: steps between orthonormalizations. Larger is faster; if it is too large, the
            tangent vectors become numerically parallel.
        key: a JAX random key for the initial tangent vectors; `jax.random.key(0)` by default.

    Returns:
        `[B, k]`, descending, in nats per step, in at least float32. −∞ for a direction that a
        singular Jacobian removes. NaN for a row that has no step after the warm-up, and for one
        whose final state or growth is NaN or infinite, as after an overflow. To judge convergence,
        compare the result with that of T/2 steps.

    Raises:
        ValueError: as `grujax.gru` does; if `num_exponents`, `warmup` or `qr_interval` is out of
            range; if `h0` is missing for a cell other than `gru_cell`; or if `cell` does not return
            a state of the shape that it was given.

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
    check_function("cell", cell, "params, h, x", "h")
    if cell is gru_cell:
        check_params(params)
    params = at_least_float32("params", params)
    inputs = check_steps("xs", at_least_float32("xs", as_array("xs", xs)))
    state = _initial_state(params, cell, inputs, h0)
    size = state.shape[-1]
    num_exponents = check_integer("num_exponents", num_exponents, 1, size)
    warmup = check_integer("warmup", warmup, 0, len(inputs) - 1)
    qr_interval = check_integer("qr_interval", qr_interval)
    key = jax.random.key(0) if key is None else check_key("key", key)
    exists = checked_steps(inputs, lengths)

    # Random, as a network may never mix the axes.
    tangents, _ = jnp.linalg.qr(jax.random.normal(key, (size, num_exponents), state.dtype))

    def mean_growth(shared: Any, of_row: Any) -> Array:
        (params, tangents), (xs, exists, h) = shared, of_row
        run = partial(_growth, cell, params, qr_interval=qr_interval)
        h, vectors, _ = run(xs[:warmup], exists[:warmup], h, tangents)
        h, _, growth = run(xs[warmup:], exists[warmup:], h, vectors)
        is_known = jnp.isfinite(h).all() & (growth < jnp.inf).all()  # −∞ is a result, NaN is not
        return jnp.where(is_known, growth / exists[warmup:].sum().astype(growth.dtype), jnp.nan)

    number = exists.ndim - 1
    for _ in range(number):
        mean_growth = jax.vmap(mean_growth, in_axes=(None, 0))
    rows = jnp.moveaxis(inputs, 0, number), jnp.moveaxis(exists, 0, number), state
    return sort_descending(meshes.map_rows(mean_growth, (params, tangents), rows, number))


def kaplan_yorke_dimension(exponents: ArrayLike) -> Array:
    """The Kaplan–Yorke estimate of an attractor's dimension from its Lyapunov exponents:

        D = j + (λ_1 + … + λ_j) / |λ_{j+1}|        with the last j where λ_1 + … + λ_j ≥ 0

    Args:
        exponents: `[B, k]`, k at least 1, in any order.

    Returns:
        `[B]` in at least float32. 0 if all exponents are negative, as at a fixed point. k if
        λ_1 + … + λ_k ≥ 0: if k < H, this is only a lower bound, so compute more exponents. NaN if
        an exponent is NaN or +∞.

    Raises:
        ValueError: if `exponents` has another shape, or no floating dtype.

    Example:
        >>> round(kaplan_yorke_dimension(jnp.array([0.4192, -1.6229])).item(), 3)  # the Hénon map
        1.258

    Reference:
        Kaplan & Yorke 1979, https://doi.org/10.1007/BFb0064319
    """
    array: Array = at_least_float32("exponents", as_floating("exponents", exponents))
    if not array.ndim or not array.shape[-1]:
        raise ValueError(
            f"`exponents` must have shape [B, k], k at least 1, got {list(array.shape)}."
        )
    array = sort_descending(array)
    sums = jnp.cumsum(array, axis=-1)
    count = jnp.sum(sums >= 0, axis=-1)  # the sums rise, then fall
    k = array.shape[-1]
    last_sum = jnp.take_along_axis(sums, (count - 1).clip(0)[..., None], -1)[..., 0]
    following = jnp.take_along_axis(array, count.clip(max=k - 1)[..., None], -1)[..., 0]
    between = (count > 0) & (count < k)
    part = jnp.where(between, last_sum / jnp.where(between, jnp.abs(following), 1), 0)
    return jnp.where(array[..., 0] < jnp.inf, count + part, jnp.nan)


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
        h, vectors, growth = carry  # [H], [k, H]: rows, so that vmap makes one matmul; [k]
        x, exists_now = inputs
        next_h, push = jax.linearize(lambda h: cell(params, h, x), h)
        pushed = jax.vmap(push)(vectors)
        after = next_h, pushed, growth
        if qr_interval > 1:  # their length could overflow or underflow before the next QR
            length = jnp.abs(pushed).max(-1)
            length = jnp.where(length == 0, 1, length)
            after = next_h, pushed / length[:, None], growth + jnp.log(length)
        return jax.tree.map(partial(jnp.where, exists_now), after, carry), None

    def chunk(carry, inputs):
        h, tangents, growth = carry
        (h, vectors, growth), _ = meshes.scan(step, (h, tangents.T, growth), inputs)
        tangents, triangle = one_matrix_at_a_time(jnp.linalg.qr)(vectors.T)
        stretch = jnp.log(jnp.abs(jnp.diagonal(triangle)))
        exists_any = inputs[1].any()  # or QR's rounding errors alone would add up in the padding
        return (h, tangents, growth + jnp.where(exists_any, stretch, 0)), None

    zero = jnp.zeros(tangents.shape[1], tangents.dtype)
    return meshes.scan(chunk, (h, tangents, zero), (xs, exists))[0]


def _initial_state(params: Any, cell: Cell, xs: Array, h0: ArrayLike | None) -> Array:
    """`[B, H]`, in the dtype of the states that `cell` returns."""
    if cell is gru_cell:
        return gru(params, xs[:0], h0)[0]  # zero steps return the broadcast h0
    if h0 is None:
        raise ValueError("`h0` must be given with a `cell` other than `gru_cell`.")
    batch, state = xs.shape[1:-1], at_least_float32("h0", as_floating("h0", h0))
    try:
        state = jnp.broadcast_to(state, (*batch, state.shape[-1]))
    except (IndexError, ValueError):
        raise ValueError(
            f"`h0` has shape {list(state.shape)} and does not broadcast against [B, H], "
            f"B = {list(batch)} from `xs`."
        ) from None
    before, x = (jax.ShapeDtypeStruct(array.shape[-1:], array.dtype) for array in (state, xs))
    after = jax.eval_shape(partial(cell, params), before, x)
    check_next_state(after, before)
    return state.astype(after.dtype)
