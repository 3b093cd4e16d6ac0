"""Jacobians of a state with respect to an earlier state: for one step and for spans of steps.

The closed form for one step, `J[i, j] = ∂h'ᵢ/∂hⱼ`, is derived in
`grujax.implementations.newton.steps`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax import meshes
from grujax.analysis.checks import as_square
from grujax.analysis.numerics import of_finite
from grujax.analysis.states import visit_states
from grujax.cell import matmul_each, project_inputs, promote
from grujax.checks import as_floating, check_instance
from grujax.implementations.newton.steps import dense_jacobians, take_steps
from grujax.implementations.types import StepMasks
from grujax.jax_support.pytrees import register
from grujax.params import GRUParams


@register
class ScaledMatrix(NamedTuple):
    """A product of many matrices, matrix · exp(log_scale), without overflow or underflow."""

    matrix: Array  #: [B, H, H], with Frobenius norm 1, or zero
    log_scale: Array  #: [B]


def step_jacobian(params: GRUParams, h: ArrayLike, x: ArrayLike) -> Array:
    """The Jacobian of one step with respect to the state before it, ∂h'/∂h, in closed form.

    Args:
        params: `GRUParams` for input size I and hidden size H, in either reset form.
        h: `[B, H]`, the state before the step.
        x: `[B, I]`, the input.

    Returns:
        `[B, H, H]`, J[i, j] = ∂h'ᵢ/∂hⱼ, in at least float32.

    Raises:
        ValueError: if a shape or dtype does not match.

    Example:
        >>> import grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=6)
        >>> step_jacobian(params, jnp.zeros((4, 6)), jnp.ones((4, 3))).shape
        (4, 6, 6)
    """
    params, h, x = promote(params, as_floating("h", h), as_floating("x", x))
    masks = StepMasks()
    steps = take_steps(params, project_inputs(params, x, matmul_each), masks, h)
    return dense_jacobians(params, masks, steps)


def step_jacobians(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
) -> Array:
    """The Jacobian of every step of a sequence, ∂h_t/∂h_{t−1}.

    Args:
        params: `GRUParams` for input size I and hidden size H.
        xs: `[T, B, I]`; for a layer inside a stack, see `layer_inputs`.
        h0: the initial state, see `grujax.gru`.
        lengths: `[B]`, see `grujax.gru`.
        reverse: see `grujax.gru`. If true, the Jacobian is ∂h_t/∂h_{t+1}.

    Returns:
        `[T, B, H, H]`, in at least float32; the identity in the padding, which carries the state.
        It needs H times the memory of `hs`.

    Raises:
        ValueError: as `grujax.gru` does.

    Example:
        >>> import grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=6)
        >>> step_jacobians(params, jnp.ones((5, 2, 3))).shape
        (5, 2, 6, 6)
    """
    visited = visit_states(params, xs, h0, lengths, reverse)
    jacobians = step_jacobian(params, visited.before, visited.xs)
    identity = jnp.eye(params.hidden_size, dtype=jacobians.dtype)
    return jnp.where(visited.exists[..., None, None], jacobians, identity)


def jacobian_product(jacobians: ArrayLike) -> ScaledMatrix:
    """The Jacobian of a span of steps, J_T ⋯ J_2·J_1, rescaled after every factor.

    Args:
        jacobians: `[T, B, H, H]` in the order of processing: a slice of `step_jacobians`, flipped
            by `[::-1]` if computed with `reverse=True`.

    Returns:
        `ScaledMatrix(matrix [B, H, H], log_scale [B])` in at least float32: the product is
        matrix · exp(log_scale). All of it is NaN for a row with a NaN or an infinity.

    Raises:
        ValueError: if `jacobians` has another shape, or no floating dtype.

    Example:
        >>> product = jacobian_product(jnp.full((2000, 1, 1), 0.5))  # 2^−2000 underflows
        >>> product.matrix.item(), round(product.log_scale.item() / 2000, 4)
        (1.0, -0.6931)
    """
    factors = as_square("jacobians", jacobians)
    if factors.ndim < 3:
        raise ValueError(f"`jacobians` must have shape [T, B, H, H], got {list(factors.shape)}.")
    identity = jnp.broadcast_to(jnp.eye(factors.shape[-1], dtype=factors.dtype), factors.shape[1:])
    start = _normalize(identity, jnp.zeros(factors.shape[1:-2], factors.dtype))

    def multiply(product: ScaledMatrix, factor: Array):
        return _normalize(factor @ product.matrix, product.log_scale), None

    return meshes.scan(multiply, start, factors)[0]


def log_singular_values(product: ScaledMatrix) -> Array:
    """The logarithms of the singular values of a span's Jacobian.

    They measure how much the span stretches a change of the state, and a gradient on the way back.

    Args:
        product: from `jacobian_product`.

    Returns:
        `[B, H]`, descending, −∞ for a singular value of zero, NaN for a product that is NaN. Values
        that are below the largest by more than the precision of the dtype (about 16 in float32, 36
        in float64) are rounding errors; `lyapunov_exponents` does not have this limit.

    Raises:
        ValueError: if `product` is no `ScaledMatrix` of these shapes.

    Example:
        >>> spans = jnp.stack([jnp.diag(jnp.array([2.0, 0.5]))] * 3)
        >>> [round(log, 3) for log in log_singular_values(jacobian_product(spans)).tolist()]
        [2.079, -2.079]
    """
    check_instance("product", product, ScaledMatrix, "jacobian_product")
    matrix = as_square("product.matrix", product.matrix)
    log_scale = as_floating("product.log_scale", product.log_scale)
    if log_scale.shape != matrix.shape[:-2]:
        raise ValueError(
            f"`product.log_scale` must have the shape [B] = {list(matrix.shape[:-2])} of "
            f"`product.matrix`, got {list(log_scale.shape)}."
        )
    return jnp.log(singular_values(matrix)) + log_scale[..., None]


def singular_values(jacobian: ArrayLike) -> Array:
    """The singular values of each Jacobian.

    Args:
        jacobian: `[B, H, H]`.

    Returns:
        `[B, H]`, descending, in at least float32; NaN for a matrix with a NaN or an infinity.

    Raises:
        ValueError: if `jacobian` has another shape, or no floating dtype.

    Example:
        >>> singular_values(jnp.array([[0.0, 2.0], [1.0, 0.0]])).tolist()
        [2.0, 1.0]
    """
    matrices = as_square("jacobian", jacobian)
    return of_finite(partial(jnp.linalg.svd, compute_uv=False), matrices)


def spectral_radius(jacobian: ArrayLike) -> Array:
    """The largest modulus of an eigenvalue of each Jacobian.

    Args:
        jacobian: `[B, H, H]`.

    Returns:
        `[B]` in at least float32; NaN for a matrix with a NaN or an infinity.

    Raises:
        ValueError: if `jacobian` has another shape, or no floating dtype.

    Example:
        >>> round(spectral_radius(jnp.array([[0.0, 2.0], [-2.0, 0.0]])).item(), 4)
        2.0
    """
    return jnp.abs(of_finite(jnp.linalg.eigvals, as_square("jacobian", jacobian))).max(-1)


def _normalize(matrix: Array, log_scale: Array) -> ScaledMatrix:
    for norm in (_largest, partial(jnp.linalg.norm, axis=(-2, -1))):  # squares could overflow
        size = norm(matrix)
        divisor = jnp.where(size == 0, 1, size)  # leaves the zero matrix unchanged
        matrix, log_scale = matrix / divisor[..., None, None], log_scale + jnp.log(divisor)
    return ScaledMatrix(matrix, log_scale)


def _largest(matrix: Array) -> Array:
    return jnp.abs(matrix).max((-2, -1))
