"""Fixed and slow points of a network under a constant input, and their stability.

The search minimizes the speed q(h) = ½·‖F(h) − h‖² (Sussillo & Barak 2013) from many initial states
in parallel, by the Levenberg–Marquardt method. With A = ∂F/∂h − I the step δ solves

    (AᵀA + μI)·δ = −Aᵀ·(F(h) − h)

If the speed decreases, μ is divided by four; otherwise μ is multiplied by four and the step is
retried. For large μ this is gradient descent. Near a fixed point μ becomes small, and the method
becomes Newton's, which converges quadratically. At a slow point, where A is singular and q has a
minimum above zero, the search stops. End points that coincide are merged, and the eigenvalues of
∂F/∂h determine the stability of each.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax import meshes
from grujax.analysis.checks import at_least_float32, check_function, check_next_state
from grujax.analysis.jacobians import step_jacobian
from grujax.analysis.numerics import of_finite
from grujax.analysis.states import Cell, checked_steps
from grujax.cell import gru_cell
from grujax.checks import (
    as_features,
    as_floating,
    check_integer,
    check_key,
    check_number,
    is_traced,
)
from grujax.jax_support.lapack import one_matrix_at_a_time
from grujax.jax_support.pytrees import register
from grujax.params import check_params

DAMPING = 1e-2  # the initial μ
MAX_REJECTIONS = 12  # rejected steps in a row before the search stops
BATCH = 128  # initial states whose H × H Jacobians are in memory at once


class Stability(IntEnum):
    """The kind of a point, from the moduli of the Jacobian's eigenvalues."""

    NONE = 0  #: an unused slot
    STABLE = 1  #: all moduli below 1: the point attracts
    SADDLE = 2  #: some below 1, some above
    UNSTABLE = 3  #: all above 1: the point repels
    SLOW = 4  #: almost a fixed point
    UNKNOWN = 5  #: a fixed point at which the Jacobian is NaN or infinite


@register
class FixedPoints(NamedTuple):
    """M slots for distinct points, fixed points before slow ones; unused slots are NaN."""

    points: Array  #: [M, H]
    residuals: Array  #: [M]: ‖F(h) − h‖
    eigenvalues: Array  #: [M, H] complex, of ∂F/∂h, sorted by descending modulus
    stability: Array  #: [M] int, see `Stability`
    num_starts: Array  #: [M] int: how many initial states converged to the point
    num_found: Array  #: [] int: the number of distinct points, which can exceed M; −1 for no search

    def of(self, kind: Stability) -> Array:
        """The points of one kind, `[n, H]`. It does not work in jit: n depends on the values."""
        number = check_integer("kind", kind, min(Stability), max(Stability))
        return self.points[self.stability == number]


def find_fixed_points(
    params: Any,
    x: ArrayLike,
    starts: ArrayLike,
    *,
    cell: Cell = gru_cell,
    size: int = 64,
    steps: int = 100,
    bound: float | None = 1.0,
    tolerance: float = 1e-6,
    slow_tolerance: float = 1e-3,
    radius: float = 1e-2,
) -> FixedPoints:
    """Finds points with h = F(h), where F(h) = cell(params, h, x), from many initial states.

    Args:
        params: `GRUParams`, or the parameters of `cell`.
        x: `[I]`, the constant input.
        starts: `[N, H]`, N at least 1, the initial states, such as states that the network visits
            plus noise (`sample_states`). One with a NaN or an infinity ends nowhere.
        cell: any `cell(params, h [H], x [I]) -> [H]`.
        size: M, the maximal number of points to return.
        steps: the maximal number of steps; the search stops earlier once the residual is within
            rounding error. 0 only classifies the starts.
        bound: the search keeps `|h| ≤ bound` in every unit; positive, or None for no bound. Every
            fixed point of a GRU has h = n, and therefore |h| < 1. Without the bound the search
            finds states far outside, where the update gate is almost 1 and nothing moves.
        tolerance: the largest residual ‖F(h) − h‖ of a fixed point. In float32 residuals below
            about 1e-7 are rounding errors for a state of norm 1.
        slow_tolerance: the largest residual of a slow point, at least `tolerance`; faster points
            are dropped.
        radius: points closer to each other than this are merged; 0 merges none.

    Returns:
        `FixedPoints` in at least float32. The shapes are static, so the function can be jitted and
        vmapped. There the values are unknown: if F(h) is NaN or infinite at every start, as with
        NaN in `params`, `num_found` is −1 instead of an error.

    Raises:
        ValueError: if a shape, dtype or number does not fit, if F(h) is NaN or infinite at every
            start, or as `cell` does.

    Example:
        >>> def pitchfork(gain, h, x):
        ...     return jnp.tanh(gain * h + x)
        >>> starts = jnp.linspace(-1, 1, 9)[:, None]
        >>> found = find_fixed_points(2.0, jnp.zeros(1), starts, cell=pitchfork, size=5)
        >>> found.num_found.item(), len(found.of(Stability.STABLE))
        (3, 2)

    Reference:
        Sussillo & Barak 2013, https://doi.org/10.1162/NECO_a_00409; Golub & Sussillo 2018,
        https://doi.org/10.21105/joss.01003
    """
    size, steps = check_integer("size", size), check_integer("steps", steps, 0)
    bound = jnp.inf if bound is None else check_number("bound", bound, "(0, inf]")
    _check_distances(tolerance, slow_tolerance, radius)
    system = _check_system(params, cell, x, starts)
    params, constant, states = meshes.vary_alike(jax.tree.map(meshes.gather, system))
    step = partial(_step, cell, params, constant)
    jacobian = partial(_jacobian, cell, params, constant)
    after = jax.eval_shape(step, states[0])
    check_next_state(after, states[0])
    states = states.astype(after.dtype)
    states = jnp.where(jnp.isfinite(states), jnp.clip(states, -bound, bound), jnp.nan)
    is_defined = _check_defined(step, states)

    descend = partial(_descend, step, jacobian, steps, bound)
    ends, end_residuals = jax.lax.map(descend, states, batch_size=BATCH)
    points, residuals, num_starts, num_found = _merge(
        ends, end_residuals, slow_tolerance, radius, size
    )
    eigenvalues = _eigenvalues(jacobian, points)
    stability = _classify(eigenvalues, residuals, tolerance)
    num_found = jnp.where(is_defined, num_found, -1)
    return FixedPoints(points, residuals, eigenvalues, stability, num_starts, num_found)


def _check_distances(tolerance: float, slow_tolerance: float, radius: float) -> None:
    for name, distance in (("tolerance", tolerance), ("radius", radius)):
        check_number(name, distance, "[0, inf)")
    lowest = "0" if is_traced(tolerance) else repr(float(tolerance))
    check_number("slow_tolerance", slow_tolerance, f"[{lowest}, inf)")


def _check_system(
    params: Any, cell: Cell, x: ArrayLike, starts: ArrayLike
) -> tuple[Any, Array, Array]:
    """The parameters, the input `[I]` and the initial states `[N, H]`, in at least float32."""
    check_function("cell", cell, "params, h, x", "h")
    if cell is gru_cell:
        check_params(params)
        x = as_features("x", x, params.input_size, "input size")
        starts = as_features("starts", starts, params.hidden_size, "hidden size")
    constant, states = as_floating("x", x), as_floating("starts", starts)
    if constant.ndim != 1:
        raise ValueError(f"`x` must have shape [I], got {list(constant.shape)}.")
    if states.ndim != 2 or not states.size:
        raise ValueError(
            f"`starts` must have shape [N, H], N and H at least 1, got {list(states.shape)}."
        )
    return (
        at_least_float32("params", params),
        at_least_float32("x", constant),
        at_least_float32("starts", states),
    )


def _check_defined(step: Callable[[Array], Array], states: Array) -> Array:
    """`[]` bool: whether the search can start; raises ValueError if it is known that not."""
    residuals = jax.lax.map(partial(_residual, step), states, batch_size=BATCH)
    is_defined = jnp.isfinite(residuals).any()
    if not is_traced(is_defined) and not is_defined:
        raise ValueError(
            "`cell` returns NaN or infinity at every one of the `starts`: there are such values in "
            "`params`, `x` or `starts`, or it overflows."
        )
    return is_defined


def sample_states(
    key: Array, hs: ArrayLike, num: int, *, noise: float = 0.0, lengths: ArrayLike | None = None
) -> Array:
    """Draws states that a network visited, as initial states for `find_fixed_points`.

    Args:
        key: a JAX random key.
        hs: `[T, B, H]`, as from `grujax.gru`.
        num: N, the number of states to draw, with replacement.
        noise: the standard deviation of the Gaussian noise added to each unit.
        lengths: `[B]`; padding is not drawn. At least one row must have a step.

    Returns:
        `[N, H]` in the dtype of `hs`; NaN if no row has a step and `lengths` is traced.

    Raises:
        ValueError: if a shape or number does not fit, if no row has a step, or if `lengths` does
            not match `hs`, see `grujax.gru`.

    Example:
        >>> sample_states(jax.random.key(0), jnp.ones((5, 2, 3)), 7, lengths=jnp.array([5, 1]))[0]
        Array([1., 1., 1.], dtype=float32)
    """
    check_key("key", key)
    hs = meshes.gather(as_floating("hs", hs))
    if hs.ndim < 2:
        raise ValueError(f"`hs` must have shape [T, B, H] or [T, H], got {list(hs.shape)}.")
    num, noise = check_integer("num", num), check_number("noise", noise, "[0, inf)")
    exists = meshes.gather(checked_steps(hs, lengths)).reshape(-1)
    count = exists.sum()
    if not exists.size or (not is_traced(count) and not count):
        raise ValueError("`hs` has no step that exists according to `lengths`, expected one.")
    states = hs.reshape(-1, hs.shape[-1])
    chosen_key, noise_key = jax.random.split(key)
    chosen = jax.random.choice(chosen_key, len(states), (num,), p=exists / jnp.maximum(count, 1))
    drawn = jnp.where(count > 0, states[chosen], jnp.nan)
    normal = jax.random.normal(noise_key, (num, hs.shape[-1]), hs.dtype)
    return drawn + jnp.asarray(noise, hs.dtype) * normal


def _step(cell: Cell, params: Any, x: Array, h: Array) -> Array:
    return cell(params, h, x)


def _jacobian(cell: Cell, params: Any, x: Array, h: Array) -> Array:
    """`[H, H]` at one state; the closed form for a GRU is H times cheaper than autodiff."""
    if cell is gru_cell:
        return step_jacobian(params, h, x)
    return jax.jacfwd(partial(_step, cell, params, x))(h)


def _residual(step: Callable[[Array], Array], h: Array) -> Array:
    norm = jnp.linalg.norm(step(h) - h)
    return jnp.where(jnp.isnan(norm), jnp.inf, norm)


def _descend(
    step: Callable[[Array], Array],
    jacobian: Callable[[Array], Array],
    max_steps: int,
    bound: float,
    start: Array,  # [H]
) -> tuple[Array, Array]:
    """Runs Levenberg–Marquardt from one state. Returns: the end point `[H]`, its residual `[]`."""
    identity = jnp.eye(start.shape[-1], dtype=start.dtype)
    epsilon = jnp.finfo(start.dtype).eps

    def is_running(carry):
        count, h, residual, _, rejections = carry
        rounding = epsilon * (1 + jnp.linalg.norm(h))
        return (count < max_steps) & (rejections < MAX_REJECTIONS) & (residual > rounding)

    def attempt(carry):
        count, h, residual, damping, rejections = carry
        matrix = jacobian(h) - identity
        normal = matrix.T @ matrix + damping * identity
        delta = one_matrix_at_a_time(_solve)(normal, matrix.T @ (step(h) - h))
        new_h = jnp.clip(h - delta, -bound, bound)
        new_residual = _residual(step, new_h)
        is_better = new_residual < residual
        return (
            count + 1,
            jnp.where(is_better, new_h, h),
            jnp.where(is_better, new_residual, residual),
            jnp.where(is_better, jnp.maximum(damping / 4, epsilon), damping * 4),
            jnp.where(is_better, 0, rejections + 1),
        )

    damping = jnp.asarray(DAMPING, start.dtype)
    carry = (jnp.int32(0), start, _residual(step, start), damping, jnp.int32(0))
    carry = meshes.vary_alike(carry)
    _, h, residual, _, _ = jax.lax.while_loop(is_running, attempt, carry)
    return h, residual


def _solve(matrix: Array, vector: Array) -> Array:
    """The solution for a symmetric positive definite matrix."""
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(matrix), True), vector)


def _merge(
    points: Array, residuals: Array, slow_tolerance: float, radius: float, size: int
) -> tuple[Array, Array, Array, Array]:
    """Merges points `[N, H]` into `size` slots, the smallest residual first; see `FixedPoints`."""
    order = jnp.argsort(residuals)
    points, residuals = points[order], residuals[order]
    num, numbers = len(points), jnp.arange(len(points))
    is_slow = jnp.isfinite(residuals) & (residuals <= slow_tolerance)

    def visit(distinct, index):
        is_near = jnp.linalg.norm(points - points[index], axis=-1) < radius
        known = distinct & is_near
        is_new = is_slow[index] & ~known.any()
        owner = jnp.where(is_new, index, jnp.where(known.any(), jnp.argmax(known), num))
        return distinct.at[index].set(is_new), owner

    distinct, owners = meshes.scan(visit, jnp.zeros(num, bool), numbers)
    owners = jnp.where(is_slow, owners, num)
    arrived = jnp.zeros(num + 1, int).at[owners].add(1)
    (slots,) = jnp.nonzero(distinct, size=size, fill_value=num)
    is_used = slots < num
    index = slots.clip(max=num - 1)
    return (
        jnp.where(is_used[:, None], points[index], jnp.nan),
        jnp.where(is_used, residuals[index], jnp.nan),
        jnp.where(is_used, arrived[index], 0),
        distinct.sum(),
    )


def _eigenvalues(jacobian: Callable[[Array], Array], points: Array) -> Array:
    """`[M, H]`; NaN at unused slots, and where the Jacobian is not finite."""
    jacobians = jax.lax.map(jacobian, points, batch_size=BATCH)
    jacobians = jnp.where(jnp.isnan(points)[..., None], jnp.nan, jacobians)
    values = of_finite(jnp.linalg.eigvals, jacobians)
    descending = jnp.argsort(-jnp.abs(values), axis=-1)
    return jnp.take_along_axis(values, descending, axis=-1)


def _classify(eigenvalues: Array, residuals: Array, tolerance: float) -> Array:
    moduli = jnp.abs(eigenvalues)
    kind = jnp.where(
        moduli[:, 0] < 1,
        Stability.STABLE,
        jnp.where(moduli[:, -1] > 1, Stability.UNSTABLE, Stability.SADDLE),
    )
    kind = jnp.where(jnp.isnan(moduli).any(-1), Stability.UNKNOWN, kind)
    kind = jnp.where(residuals <= tolerance, kind, Stability.SLOW)
    return jnp.where(jnp.isnan(residuals), Stability.NONE, kind)
