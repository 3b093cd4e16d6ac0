"""`lax.scan` with the input projection outside the loop, and masks that cost nothing inside it.

All steps' input projections are three matmuls before the loop, one operand per gate: XLA's CPU
compiler vectorises the gates only where it need not slice a packed `[.., 3H]` projection.

A step that does not exist gets +inf as the update gate's projection. Then z = σ(∞) = 1 exactly, so
the state is carried bit for bit, and z·(1 − z) = 1 − z = 0, so no gradient reaches the gates.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from grujax.cell import gates_from_projection, project_inputs, update_state
from grujax.params import GRUParams


def run(
    params: GRUParams,
    xs: Array,  # [T, B, I]
    h0: Array,  # [B, H]
    exists: Array | None,  # [T, B] bool
    starts: Array | None,  # [T, B] bool
    reverse: bool,
) -> tuple[Array, Array]:
    x_r, x_z, x_n = project_inputs(params, xs)
    if exists is not None:
        x_z = jnp.where(exists[..., None], x_z, jnp.inf)

    def step(h, inputs):
        x, starts_now = inputs
        if starts_now is not None:
            h = jnp.where(starts_now[..., None], h0, h)
        h = update_state(gates_from_projection(params, h, x), h)
        return h, h

    h_last, hs = jax.lax.scan(step, h0, ((x_r, x_z, x_n), starts), reverse=reverse)
    if exists is not None:
        hs = jnp.where(exists[..., None], hs, 0)
    return h_last, hs
