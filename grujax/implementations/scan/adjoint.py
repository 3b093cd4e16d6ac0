"""The adjoint through the steps of one chunk; derived in `grujax.implementations.scan.rules`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import matmul
from grujax.implementations.gates import pack_gates
from grujax.implementations.types import GateResiduals, RecurrenceArgs, StepMasks
from grujax.jax_support.promotion import match_rank


class ChunkStates(NamedTuple):
    """The states before a chunk's steps, and the gradients and masks of these steps."""

    h: Array  # [K, B, H]
    seen: Array  # [K, B, H], the same with recurrent dropout, as the gates see it
    d_hs: Array  # [K, B, H]
    restart: Array | None  # [K, B] bool


class GateGradients(NamedTuple):
    """A chunk's gradients of both operands of the gates, in the order r, z, n."""

    d_x: tuple[Array, Array, Array]  # of the projected inputs: δr, δz, δn, each [K, B, H]
    d_h: tuple[Array, Array, Array]  # of the products with Wh: δr, δz, and δc or δn
    h: tuple[Array, Array, Array]  # the states that Wh multiplied: h, h, and h or r ∘ h


# The gradients of a state and of `reset_state` so far, each [B, H].
Adjoints = tuple[Array, Array]
AdjointFn = Callable[[GateResiduals, ChunkStates, Adjoints], tuple[Adjoints, GateGradients]]


def make_adjoint_fn(args: RecurrenceArgs, dtype: Any) -> AdjointFn:
    """The function that takes the adjoints back through a chunk and returns its gate gradients."""
    make = _make_reset_after if args.params.reset_after else _make_reset_before
    return make(args, dtype)


def _make_reset_after(args: RecurrenceArgs, dtype: Any) -> AdjointFn:
    masks = args.masks
    w_h_t = pack_gates(args.params.w_h).T.astype(dtype)  # [3H, H]

    def adjoint_fn(gates, states, carry):
        r, c = gates.reset, gates.product
        u, to_n, to_z = update_factors(gates, states.h, masks)
        to_c = to_n * r
        to_r = to_c * c * (1 - r)

        def step(carry, inputs):
            adjoint, d_reset = carry
            d_h, u, to_r, to_z, to_c, restart = inputs
            adjoint = adjoint + d_h
            d_gates = jnp.concatenate([adjoint * to_r, adjoint * to_z, adjoint * to_c], axis=-1)
            d_before = adjoint * u + drop_gradient(matmul(d_gates, w_h_t), masks)
            return _pass_back(d_before, d_reset, restart), adjoint

        inputs = (states.d_hs, u, to_r, to_z, to_c, states.restart)
        carry, adjoints = lax.scan(step, carry, inputs, reverse=not args.reverse)
        d_r, d_z, h = adjoints * to_r, adjoints * to_z, states.seen.astype(dtype)
        return carry, GateGradients(
            d_x=(d_r, d_z, adjoints * to_n), d_h=(d_r, d_z, adjoints * to_c), h=(h, h, h)
        )

    return adjoint_fn


def _make_reset_before(args: RecurrenceArgs, dtype: Any) -> AdjointFn:
    masks = args.masks
    w_rz_t = pack_gates(args.params.w_h[:2]).T.astype(dtype)  # [2H, H]
    w_hn_t = args.params.w_h[2].T.astype(dtype)

    def adjoint_fn(gates, states, carry):
        r, h = gates.reset, states.seen.astype(dtype)
        u, to_n, to_z = update_factors(gates, states.h, masks)
        to_r = h * r * (1 - r)

        def step(carry, inputs):
            adjoint, d_reset = carry
            d_h, r, u, to_r, to_z, to_n, restart = inputs
            adjoint = adjoint + d_h
            q = matmul(adjoint * to_n, w_hn_t)
            d_gates = jnp.concatenate([q * to_r, adjoint * to_z], axis=-1)
            d_before = adjoint * u + drop_gradient(q * r + matmul(d_gates, w_rz_t), masks)
            return _pass_back(d_before, d_reset, restart), (adjoint, q)

        inputs = (states.d_hs, r, u, to_r, to_z, to_n, states.restart)
        carry, (adjoints, q) = lax.scan(step, carry, inputs, reverse=not args.reverse)
        d_gates = (q * to_r, adjoints * to_z, adjoints * to_n)
        r_h = (r * h).astype(states.seen.dtype).astype(dtype)
        return carry, GateGradients(d_x=d_gates, d_h=d_gates, h=(h, h, r_h))

    return adjoint_fn


def update_factors(gates: GateResiduals, h: Array, masks: StepMasks) -> tuple[Array, Array, Array]:
    """`u`, and the factors of λ in `δn` and in `δz`."""
    _, z, n, _ = gates
    u = masks.apply_zoneout(z)
    to_n, to_z = (1 - u) * (1 - n * n), (h.astype(n.dtype) - n) * z * (1 - z)
    return u, to_n, to_z if masks.zoneout_rate is None else (1 - masks.zoneout_rate) * to_z


def drop_gradient(d_seen: Array, masks: StepMasks) -> Array:
    """The gradient of the state from that of the state as the gates see it."""
    mask = masks.recurrent_dropout_mask
    return d_seen if mask is None else match_rank(mask, d_seen) * d_seen


def _pass_back(d_before: Array, d_reset: Array, restart: Array | None) -> Adjoints:
    """Adds a state's gradient to that of the step before, or of `reset_state` at a restart."""
    if restart is None:
        return d_before, d_reset
    was_set = restart[:, None]
    return jnp.where(was_set, 0, d_before), d_reset + jnp.where(was_set, d_before, 0)
