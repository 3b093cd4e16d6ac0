"""All steps of a walk at once, from given states before them, and their Jacobians.

With s = m∘h what the gates see of the state (m is one without recurrent dropout), p zoneout's
expected share, u = z + p(1 − z) and h' = u∘h + (1 − u)∘n, J[i, j] = ∂h'ᵢ/∂hⱼ is

    J      = diag(u) + [diag((1 − p)(h − n) z(1 − z))·Whzᵀ + diag((1 − u)(1 − n²))·∂n̂/∂s]·diag(m)
    ∂n̂/∂s = diag(r)·Whnᵀ + diag(c r(1 − r))·Whrᵀ,   c = s·Whn + bhn         reset_after=True
    ∂n̂/∂s = Whnᵀ·[diag(r) + diag(s r(1 − r))·Whrᵀ]                          reset_after=False

with n̂ the candidate before its tanh. Where a step does not exist, or a unit keeps its state, z = 1
to the last bit, and the row of J is that of the identity.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax.cell import GRUGates, update_state
from grujax.implementations.gates import Gates, Projected, gates_of
from grujax.implementations.passes import Inputs
from grujax.implementations.scan.chunks import Chunk
from grujax.implementations.types import Masks
from grujax.params import GRUParams


class Course(NamedTuple):
    """A sequence in the order in which it is walked, in at least float32."""

    inputs: Inputs
    masks: Masks

    def states_before(self, hs: Array) -> Array:
        """`[T, B, H]`, what each step starts from, from the states after the steps."""
        before = jnp.concatenate([self.inputs.h0[None], hs[:-1]])
        if self.masks.starts is None:
            return before
        return jnp.where(self.masks.starts[..., None], self.inputs.reset_state, before)


class Steps(NamedTuple):
    """Steps from `before` to `after`, both `[T, B, H]`, and what happens in them."""

    before: Array
    after: Array
    gates: Gates


def as_course(inputs: Inputs, masks: Masks, reverse: bool) -> Course:
    dtype = jnp.promote_types(inputs.xs.dtype, jnp.float32)
    inputs = jax.tree.map(lambda leaf: leaf.astype(dtype), inputs)
    xs, *in_time = turn((inputs.xs, masks.exists, masks.starts, masks.keeps), reverse)
    exists, starts, keeps = in_time
    return Course(inputs._replace(xs=xs), masks._replace(exists=exists, starts=starts, keeps=keeps))


def turn(in_time: Any, reverse: bool) -> Any:
    """A tree of `[T, ...]` from the order of time into that of the walk, or back."""
    return jax.tree.map(lambda leaf: leaf[::-1], in_time) if reverse else in_time


def project_inputs(params: GRUParams, xs: Array, masks: Masks) -> Projected:
    """The inputs' part of each gate at all steps, one chunk of time."""
    return Chunk(jnp.zeros((), jnp.int32), xs, masks).project_inputs(params)


def take_steps(params: GRUParams, projected: Projected, masks: Masks, before: Array) -> Steps:
    gates = gates_of(params)(masks.seen(before), projected)
    update = masks.expected_update(gates.update)
    after = update_state(GRUGates(gates.reset, update, gates.candidate), before)
    return Steps(before, after, gates)


def dense_jacobians(params: GRUParams, masks: Masks, steps: Steps) -> Array:
    """`[T, B, H, H]`."""
    of_update, of_candidate = _outer_factors(masks, steps)
    r, u = steps.gates.reset, masks.expected_update(steps.gates.update)
    w_hr, w_hz, w_hn = (w.T for w in params.w_h)
    product = steps.gates.product
    if product is not None:
        candidate = _rows(r, w_hn) + _rows(product * r * (1 - r), w_hr)
    else:
        seen = masks.seen(steps.before)
        candidate = jnp.matmul(w_hn, _diagonal(r) + _rows(seen * r * (1 - r), w_hr))
    of_seen = _rows(of_update, w_hz) + _rows(of_candidate, candidate)
    if masks.scale is not None:
        of_seen = of_seen * masks.scale[:, None, :]
    return _diagonal(u) + of_seen


def diagonal_jacobians(params: GRUParams, masks: Masks, steps: Steps) -> Array:
    """Their diagonals alone, `[T, B, H]`."""
    of_update, of_candidate = _outer_factors(masks, steps)
    r, u = steps.gates.reset, masks.expected_update(steps.gates.update)
    d_hr, d_hz, d_hn = (jnp.diagonal(w) for w in params.w_h)
    product = steps.gates.product
    if product is not None:
        candidate = r * d_hn + product * r * (1 - r) * d_hr
    else:
        w_hr, _, w_hn = params.w_h
        through_reset = masks.seen(steps.before) * r * (1 - r)
        candidate = r * d_hn + jnp.matmul(through_reset, w_hn * w_hr.T)
    of_seen = of_update * d_hz + of_candidate * candidate
    return u + (of_seen if masks.scale is None else masks.scale * of_seen)


def linear_factors(
    method: str, params: GRUParams, masks: Masks, steps: Steps, gates_fixed: Array | bool = False
) -> Array:
    """A of the linear recurrence: the Jacobians, or their diagonals, which must not explode.

    With the gates fixed, as if they did not depend on the state, they are the update gate alone.
    """
    update = masks.expected_update(steps.gates.update)
    if method == "dense":
        jacobians = dense_jacobians(params, masks, steps)
        return jnp.where(gates_fixed, _diagonal(update), jacobians)
    return jnp.where(gates_fixed, update, diagonal_jacobians(params, masks, steps).clip(-1, 1))


def _outer_factors(masks: Masks, steps: Steps) -> tuple[Array, Array]:
    """∂h' by the update gate before its sigmoid, and by the candidate before its tanh."""
    _, z, n, _ = steps.gates
    u = masks.expected_update(z)
    of_update = (steps.before - n) * z * (1 - z)
    if masks.zoneout is not None:
        of_update = (1 - masks.zoneout) * of_update
    return of_update, (1 - u) * (1 - n * n)


def _rows(scales: Array, matrix: Array) -> Array:
    """diag(scales)·matrix."""
    return scales[..., None] * matrix


def _diagonal(values: Array) -> Array:
    return values[..., None] * jnp.eye(values.shape[-1], dtype=values.dtype)
