"""The fast recurrence in pure JAX, with a hand-derived gradient. The default.

Forward. Time is cut into chunks of K steps. A chunk's input projections are three matmuls, one
operand per gate (slicing a packed `[.., 3H]` projection inside the loop would defeat XLA's CPU
vectoriser); a step then is one matmul with the packed recurrent weights, and the gates.

A step that does not exist gets +inf as the update gate's projection. Then z = σ(∞) = 1 exactly, so
the state is carried bit for bit, and z·(1 − z) = 1 − z = 0, so no gradient reaches the gates.

Gradient. Nothing but `hs` is kept from the forward pass. With λ = ∂L/∂h', complete, h the state
before the step and c = h·Whn + bhn, the chain rule through h' = z∘h + (1 − z)∘n gives the gradients
with respect to the gates' pre-activations, for reset_after=True:

    δn = λ ∘ (1 − z) ∘ (1 − n²)             δc = δn ∘ r
    δz = λ ∘ (h − n) ∘ z ∘ (1 − z)          δr = δc ∘ c ∘ (1 − r)
    ∂L/∂h = λ ∘ z + [δr δz δc]·[Whr Whz Whn]ᵀ

Every factor behind λ is known once a chunk's gates are recomputed, by one parallel matmul from the
kept states. The sequential part of the backward pass is thus one matmul and a few products a step;
the gradients of the weights, biases and inputs are matmuls over the whole chunk afterwards:

    ∂L/∂Wx = xᵀ·[δr δz δn]     ∂L/∂Wh = hᵀ·[δr δz δc]     ∂L/∂x = [δr δz δn]·Wxᵀ

For reset_after=False the candidate's path has a matmul of its own, q = δn·Whnᵀ:

    δr = q ∘ h ∘ r ∘ (1 − r)                ∂L/∂h = λ ∘ z + q ∘ r + [δr δz]·[Whr Whz]ᵀ
    ∂L/∂Whn = (r ∘ h)ᵀ·δn

Memory, in numbers kept beside inputs, outputs and parameters: T·B·H between the two passes (`hs`,
an output already), and about 12·K·B·H, for a chunk, while one of them runs. Autodiff of a scan
keeps about 10·T·B·H.

Gradients of the gradient are taken by JAX, through the plain implementation.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import GRUGates, matmul, update_state
from grujax.implementations import plain
from grujax.implementations.batching import over_models
from grujax.implementations.chunks import cut_time, pack_gates, prepare_chunk, slice_steps
from grujax.implementations.scan_gradient import Kept, backward
from grujax.params import GRUParams


def run(
    params: GRUParams,
    xs: Array,  # [T, *B, I]
    h0: Array,  # [*B, H]
    exists: Array | None,  # [T, *B] bool
    starts: Array | None,  # [T, *B] bool
    reverse: bool,
) -> tuple[Array, Array]:
    batch = h0.shape[:-1]
    sizes = (xs.shape[0], *batch)
    # Time cannot be cut into chunks where there is none, or where `jax.export` leaves it symbolic.
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        return plain.run(params, xs, h0, exists, starts, reverse)

    def flatten(array: Array, axis: int, end: int) -> Array:
        return array.reshape(*array.shape[:axis], -1, *array.shape[end:])

    depth = len(batch)
    flat_xs, exists, starts = jax.tree.map(
        lambda array: flatten(array, 1, 1 + depth), (xs, exists, starts)
    )
    h_last, hs = _recurrence(reverse, params, flat_xs, flatten(h0, 0, depth), exists, starts)
    return h_last.reshape(h0.shape), hs.reshape(*xs.shape[:-1], h0.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(
    reverse: bool,
    params: GRUParams,
    xs: Array,  # [T, B, I], T and B at least 1
    h0: Array,  # [B, H]
    exists: Array | None,  # [T, B] bool
    starts: Array | None,  # [T, B] bool
) -> tuple[Array, Array]:
    return _FORWARD[reverse](params, xs, h0, exists, starts)


def _recurrence_fwd(reverse: bool, *inputs: Any) -> tuple[tuple[Array, Array], Kept]:
    h_last, hs = _recurrence(reverse, *inputs)
    params, xs, h0, exists, starts = inputs
    return (h_last, hs), Kept(params, xs, h0, exists, starts, hs)


def _recurrence_bwd(reverse: bool, kept: Kept, cotangents: tuple[Array, Array]) -> tuple:
    d_params, d_xs, d_h0 = _gradient(reverse, kept, cotangents)
    return d_params, d_xs, d_h0, None, None


_recurrence.defvjp(_recurrence_fwd, _recurrence_bwd)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gradient(
    reverse: bool, kept: Kept, cotangents: tuple[Array, Array]
) -> tuple[GRUParams, Array, Array]:
    return _BACKWARD[reverse](kept, *cotangents)


def _gradient_fwd(reverse: bool, kept: Kept, cotangents: tuple[Array, Array]) -> tuple:
    return _gradient(reverse, kept, cotangents), (kept, cotangents)


def _gradient_bwd(reverse: bool, residuals: tuple, second_cotangents: tuple) -> tuple:
    kept, cotangents = residuals

    def gradient_of_plain(params, xs, h0, cotangents):
        def forward(params, xs, h0):
            return plain.run(params, xs, h0, kept.exists, kept.starts, reverse)

        return jax.vjp(forward, params, xs, h0)[1](cotangents)

    _, pullback = jax.vjp(gradient_of_plain, kept.params, kept.xs, kept.h0, cotangents)
    d_params, d_xs, d_h0, d_cotangents = pullback(second_cotangents)
    # `hs` is a function of the other inputs, through which the plain gradient has gone already.
    return Kept(d_params, d_xs, d_h0, None, None, jnp.zeros_like(kept.hs)), d_cotangents


_gradient.defvjp(_gradient_fwd, _gradient_bwd)


def _forward(
    params: GRUParams,
    xs: Array,  # [T, B, I]
    h0: Array,  # [B, H]
    exists: Array | None,  # [T, B] bool
    starts: Array | None,  # [T, B] bool
    *,
    reverse: bool,
) -> tuple[Array, Array]:
    """`(h_last, hs)`; `hs` is zero where a step does not exist."""
    steps, batch, _ = xs.shape
    chunks = cut_time(steps, batch, reverse)
    advance = _advance_after(params) if params.reset_after else _advance_before(params)

    def step(h, inputs):
        projected, exists_now, starts_now = inputs
        if starts_now is not None:
            h = jnp.where(starts_now[:, None], h0, h)
        h = advance(h, projected)
        return h, h if exists_now is None else jnp.where(exists_now[:, None], h, 0)

    def body(index, carry):
        h, hs = carry
        begin = chunks.begin(index)
        x, exists_here, starts_here = slice_steps(begin, chunks.length, (xs, exists, starts))
        chunk = prepare_chunk(chunks, index, params, x, exists_here, starts_here)
        inputs = (chunk.projected, chunk.exists, chunk.starts)
        h, hs_here = lax.scan(step, h, inputs, reverse=reverse)
        return h, lax.dynamic_update_slice_in_dim(hs, hs_here, begin, 0)

    return chunks.walk(body, (h0, jnp.zeros((steps, *h0.shape), h0.dtype)))


def _advance_after(params: GRUParams):
    """One step with reset_after=True and a projected input: one matmul, packed over the gates."""
    w_h = pack_gates(params.w_h)

    def advance(h: Array, projected: tuple[Array, Array, Array]) -> Array:
        x_r, x_z, x_n = projected
        h_r, h_z, h_n = jnp.split(matmul(h, w_h), 3, axis=-1)
        reset, update = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        candidate = jnp.tanh(x_n + reset * (h_n + params.b_hn))
        return update_state(GRUGates(reset, update, candidate), h)

    return advance


def _advance_before(params: GRUParams):
    """One step with reset_after=False and a projected input."""
    w_rz, w_hn = pack_gates(params.w_h[:2]), params.w_h[2]

    def advance(h: Array, projected: tuple[Array, Array, Array]) -> Array:
        x_r, x_z, x_n = projected
        h_r, h_z = jnp.split(matmul(h, w_rz), 2, axis=-1)
        reset, update = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        candidate = jnp.tanh(x_n + matmul((reset * h).astype(h.dtype), w_hn) + params.b_hn)
        return update_state(GRUGates(reset, update, candidate), h)

    return advance


_FORWARD = {
    reverse: over_models(partial(_forward, reverse=reverse), lambda arguments: arguments[0])
    for reverse in (False, True)
}
_BACKWARD = {
    reverse: over_models(partial(backward, reverse=reverse), lambda arguments: arguments[0].params)
    for reverse in (False, True)
}
