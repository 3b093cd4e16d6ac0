"""The influence of a GRU's parameters on its state, in closed form.

Let z̄ = (h − n) ∘ z(1 − z) and n̄ = (1 − z) ∘ (1 − n²) be the derivatives of a unit's new state with
respect to its update gate and its candidate, before their nonlinearities. With the equations of
`grujax.cell`, the parameters of unit j act at first on unit j alone. Their immediate influence is

    of Wxz, Whz, bz      [x, h, 1]·z̄ⱼ
    of Wxn, bn           [x, 1]·n̄ⱼ
    of Whn, bhn          [h, 1]·n̄ⱼrⱼ                     reset_after=True
                         [r ∘ h, 1]·n̄ⱼ                   reset_after=False
    of Wxr, Whr, br      [x, h, 1]·n̄ⱼcⱼrⱼ(1 − rⱼ)        reset_after=True, with c = h·Whn + bhn

With reset_after=False the reset gate acts on every unit i, through the matrix behind it:

    of Wxr, Whr, br      [x, h, 1]·n̄ᵢ·Whn[j, i]·hⱼrⱼ(1 − rⱼ)

All arrays of `GRUParams` end with the axis of unit j. So an influence `[B, H, P]` is also
`[B, H, K, H]`, with K = 3·(I + H) + 4 rows of parameters, and all but the last line is diagonal in
the two axes H.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from grujax.cell import matmul_each, project_inputs, promote
from grujax.implementations.newton.steps import Steps, dense_jacobians, take_steps
from grujax.implementations.scan.adjoint import update_factors
from grujax.implementations.types import StepMasks
from grujax.params import GRUParams

NO_MASKS = StepMasks()


def take_step(params: GRUParams, h: Array, x: Array) -> Steps:
    """One step from `h [B, H]` with the input `x [B, I]`."""
    params, h, x = promote(params, h, x)
    return take_steps(params, project_inputs(params, x, matmul_each), NO_MASKS, h)


def advance_influence(params: GRUParams, steps: Steps, x: Array, influence: Array) -> Array:
    """The influence after a step from that before it, both `[B, H, P]`.

    One product for each row, and one pass that adds the immediate influence.
    """
    size = params.hidden_size
    kept = dense_jacobians(params, NO_MASKS, steps) @ influence
    by_unit = kept.reshape(*steps.before.shape, kept.shape[-1] // size, size)  # [B, H, K, H]
    # Without the barrier, XLA would compute it anew for every unit i, inside of the sum.
    own = jax.lax.optimization_barrier(own_influence(params, steps, x))[..., None, :, :]
    by_unit = by_unit + jnp.where(jnp.eye(size, dtype=bool)[:, None], own, 0)
    if not params.reset_after:
        by_unit = by_unit + _influence_through_reset(params, steps, x)
    return by_unit.reshape(influence.shape)


def own_influence(params: GRUParams, steps: Steps, x: Array) -> Array:
    """The immediate influence of each unit's parameters on that unit, `[B, K, H]`."""
    h, (r, _, _, product) = steps.before, steps.gates
    _, to_n, to_z = update_factors(steps.gates, h, NO_MASKS)
    if product is None:
        to_r, to_hn, seen = jnp.zeros_like(to_n), to_n, r * h
    else:
        to_r, to_hn, seen = to_n * product * r * (1 - r), to_n * r, h
    to_gates = to_r, to_z, to_n
    of_w_x = [_outer(x, to_gate) for to_gate in to_gates]
    of_w_h = [_outer(h, to_r), _outer(h, to_z), _outer(seen, to_hn)]
    of_biases = jnp.stack([*to_gates, to_hn], axis=-2)
    return jnp.concatenate([*of_w_x, *of_w_h, of_biases], axis=-2)


def _influence_through_reset(params: GRUParams, steps: Steps, x: Array) -> Array:
    """The immediate influence of the reset gate's parameters, `[B, H, K, H]`: reset_after=False."""
    h, r = steps.before, steps.gates.reset
    _, to_n, _ = update_factors(steps.gates, h, NO_MASKS)
    to_units = to_n[..., :, None] * params.w_h[2].T * (h * r * (1 - r))[..., None, :]
    nothing_x, nothing_h = (jnp.zeros((*x.shape[:-1], 2 * v.shape[-1]), h.dtype) for v in (x, h))
    is_reset_bias = jnp.broadcast_to(jnp.array([1, 0, 0, 0], h.dtype), (*h.shape[:-1], 4))
    multiplied = jnp.concatenate([x, nothing_x, h, nothing_h, is_reset_bias], axis=-1)  # [B, K]
    to_units, multiplied = jax.lax.optimization_barrier((to_units, multiplied))
    return to_units[..., None, :] * multiplied[..., None, :, None]


def _outer(of_rows: Array, of_units: Array) -> Array:
    """`[B, n]` and `[B, H]` to `[B, n, H]`."""
    return of_rows[..., :, None] * of_units[..., None, :]
