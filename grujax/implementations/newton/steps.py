"""All steps of a sequence at once, from given states before them, and their Jacobians.

With s = m∘h the state as the gates see it (m is 1 without recurrent dropout), p zoneout's expected
share, u = z + p(1 − z) and h' = u∘h + (1 − u)∘n, the Jacobian J[i, j] = ∂h'ᵢ/∂hⱼ is

    J      = diag(u) + [diag((1 − p)(h − n) z(1 − z))·Whzᵀ + diag((1 − u)(1 − n²))·∂n̂/∂s]·diag(m)
    ∂n̂/∂s = diag(r)·Whnᵀ + diag(c r(1 − r))·Whrᵀ,   c = s·Whn + bhn         reset_after=True
    ∂n̂/∂s = Whnᵀ·[diag(r) + diag(s r(1 − r))·Whrᵀ]                          reset_after=False

with n̂ the candidate before its tanh. Where a step is not valid, or a unit keeps its state, z = 1
exactly, and the row of J is that of the identity.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax.cell import update_state
from grujax.implementations.gates import Projected, make_gates_fn
from grujax.implementations.scan.adjoint import drop_gradient, update_factors
from grujax.implementations.types import GateResiduals, RecurrenceArgs, StepMasks
from grujax.jax_support.promotion import match_rank, wide_dtype
from grujax.params import GRUParams


class Steps(NamedTuple):
    """Steps from the states `before` to the states `after`, both `[T, B, H]`."""

    before: Array
    after: Array
    gates: GateResiduals


def in_order(args: RecurrenceArgs) -> RecurrenceArgs:
    """The same recurrence running from 0 to T − 1, in at least float32."""
    dtype = wide_dtype(args.xs.dtype)
    args = args.with_primals(jax.tree.map(lambda leaf: leaf.astype(dtype), args.primals))
    return args.map_time(lambda leaf: flip_time(leaf, args.reverse)).replace(reverse=False)


def flip_time(in_time: Any, reverse: bool) -> Any:
    """A tree of `[T, ...]`, with time reversed if `reverse`."""
    return jax.tree.map(lambda leaf: leaf[::-1], in_time) if reverse else in_time


def take_steps(params: GRUParams, projected: Projected, masks: StepMasks, before: Array) -> Steps:
    """One step from each state of `before [T, B, H]`."""
    gates = make_gates_fn(params)(masks.apply_recurrent_dropout(before), projected)
    after = update_state(masks.apply_zoneout(gates.update), gates.candidate, before)
    return Steps(before, after, gates)


def dense_jacobians(params: GRUParams, masks: StepMasks, steps: Steps) -> Array:
    """`[T, B, H, H]`."""
    u, to_candidate, to_update = update_factors(steps.gates, steps.before, masks)
    r, product = steps.gates.reset, steps.gates.product
    w_hr, w_hz, w_hn = (w.T for w in params.w_h)
    if product is not None:
        candidate = _scale_rows(r, w_hn) + _scale_rows(product * r * (1 - r), w_hr)
    else:
        seen = masks.apply_recurrent_dropout(steps.before)
        candidate = jnp.matmul(w_hn, _diagonal(r) + _scale_rows(seen * r * (1 - r), w_hr))
    of_seen = _scale_rows(to_update, w_hz) + _scale_rows(to_candidate, candidate)
    if masks.recurrent_dropout_mask is not None:
        of_seen = of_seen * masks.recurrent_dropout_mask[None, :, None, :]
    return _diagonal(u) + of_seen


def diagonal_jacobians(params: GRUParams, masks: StepMasks, steps: Steps) -> Array:
    """The diagonals of the Jacobians alone, `[T, B, H]`."""
    u, to_candidate, to_update = update_factors(steps.gates, steps.before, masks)
    r, product = steps.gates.reset, steps.gates.product
    d_hr, d_hz, d_hn = (match_rank(jnp.diagonal(w), u) for w in params.w_h)
    if product is not None:
        candidate = r * d_hn + product * r * (1 - r) * d_hr
    else:
        w_hr, _, w_hn = params.w_h
        through_reset = masks.apply_recurrent_dropout(steps.before) * r * (1 - r)
        candidate = r * d_hn + jnp.matmul(through_reset, w_hn * w_hr.T)
    return u + drop_gradient(to_update * d_hz + to_candidate * candidate, masks)


def linear_factors(
    method: str,
    params: GRUParams,
    masks: StepMasks,
    steps: Steps,
    gates_fixed: Array | bool = False,
) -> Array:
    """A of the linear recurrence: the Jacobians, or their diagonals clipped to [−1, 1].

    With fixed gates, which do not depend on the state, A is the update gate alone.
    """
    update = masks.apply_zoneout(steps.gates.update)
    if method == "dense":
        jacobians = dense_jacobians(params, masks, steps)
        return jnp.where(gates_fixed, _diagonal(update), jacobians)
    return jnp.where(gates_fixed, update, diagonal_jacobians(params, masks, steps).clip(-1, 1))


def _scale_rows(scales: Array, matrix: Array) -> Array:
    """diag(scales)·matrix."""
    scales = scales[..., None]
    return scales * match_rank(matrix, scales)


def _diagonal(values: Array) -> Array:
    return _scale_rows(values, jnp.eye(values.shape[-1], dtype=values.dtype))
