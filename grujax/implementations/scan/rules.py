"""The recurrence in pure JAX with a hand-derived gradient: what runs where no kernel does.

Gradient. With λ = ∂L/∂h' complete, h the state before the step and c = h·Whn + bhn, the chain rule
through h' = z∘h + (1 − z)∘n gives the gradients of the gates' pre-activations, for
reset_after=True:

    δn = λ ∘ (1 − z) ∘ (1 − n²)             δc = δn ∘ r
    δz = λ ∘ (h − n) ∘ z ∘ (1 − z)          δr = δc ∘ c ∘ (1 − r)
    ∂L/∂h = λ ∘ z + [δr δz δc]·[Whr Whz Whn]ᵀ

Every factor of λ is known before the backward pass begins. Its sequential part thus is one matmul
and a few products per step. The gradients of the weights, biases and inputs are matmuls over a
whole chunk afterwards:

    ∂L/∂Wx = xᵀ·[δr δz δn]     ∂L/∂Wh = hᵀ·[δr δz δc]     ∂L/∂x = [δr δz δn]·Wxᵀ

For reset_after=False the candidate has its own matmul, q = δn·Whnᵀ:

    δr = q ∘ h ∘ r ∘ (1 − r)                ∂L/∂h = λ ∘ z + q ∘ r + [δr δz]·[Whr Whz]ᵀ
    ∂L/∂Whn = (r ∘ h)ᵀ·δn

With recurrent dropout the gates see s = m∘h instead of h: s replaces h in the products with Wh and
in c, and the gradients that these products send back are multiplied by m. Zoneout's expectation
replaces z by u = z + p(1 − z) in h', in 1 − z and in λ ∘ z, and multiplies δz by ∂u/∂z = 1 − p.

Tangent. With a dot for a tangent and g for a gate, the same factors of λ weigh what reaches h':

    ḣ' = z ∘ ḣ + f_r ∘ ȧ_r + f_z ∘ ȧ_z + f_n ∘ ẋ_n + f_c ∘ ċ
    ȧ_g = ẋ_g + ḣ·Whg + h·Ẇhg,   ċ = ḣ·Whn + h·Ẇhn + ḃhn,   ẋ_g = ẋ·Wxg + x·Ẇxg + ḃg

where δr = λ∘f_r, δz = λ∘f_z, δn = λ∘f_n and δc = λ∘f_c define the factors. For reset_after=False
the last two terms are f_n ∘ ȧ_n, with

    ȧ_n = ẋ_n + (h ∘ r ∘ (1 − r) ∘ ȧ_r + r ∘ ḣ)·Whn + (r ∘ h)·Ẇhn + ḃhn

This is linear in ḣ: per step one matmul, or two, and a few products. What does not depend on ḣ is
computed for a whole chunk. A restart sets ḣ to the tangent of `reset_state`. With recurrent dropout
ḣ is m ∘ ḣ in the products with Wh; zoneout's expectation acts as above.

Memory, in numbers, besides inputs, outputs and parameters:

    from forward to backward        nothing (`hs` is an output), or 4·T·B·H for the gates
    while a pass runs               about 12·K·B·H, for one chunk of K steps

`grujax.implementations.derivatives.keeps_gates` decides whether the gates are saved or recomputed,
chunk by chunk. Autodiff of a scan saves about 10·T·B·H.
"""

from __future__ import annotations

from functools import partial

from jax import Array

from grujax.implementations.derivatives import keeps_gates, of_each
from grujax.implementations.scan.backward import backward
from grujax.implementations.scan.forward import forward
from grujax.implementations.scan.tangent import tangent
from grujax.implementations.structure import Rules
from grujax.implementations.types import Outputs, Primals, RecurrenceArgs, Residuals
from grujax.jax_support.batching import sequential_vmap_on_cpu

_FORWARD = {
    keep_gates: sequential_vmap_on_cpu(
        partial(forward, keep_gates=keep_gates), lambda args: args.params
    )
    for keep_gates in (False, True)
}
_TANGENT = sequential_vmap_on_cpu(tangent, lambda residuals, *_: residuals.args.params)
_BACKWARD = sequential_vmap_on_cpu(backward, lambda residuals, *_: residuals.args.params)


def forward_pass(args: RecurrenceArgs, keep_gates: bool) -> Outputs:
    """`h_last [B, H]`, `hs [T, B, H]` and the gates or None, for one batch axis."""
    return _FORWARD[keep_gates](args)


def tangent_pass(residuals: Residuals, tangents: Primals) -> tuple[Array, Array]:
    """The tangents of `h_last [B, H]` and `hs [T, B, H]`; a tangent that is None is zero."""
    return _TANGENT(residuals, tangents)


def backward_pass(residuals: Residuals, d_last: Array, d_hs: Array) -> Primals:
    """The gradient of the primals from those of `h_last [B, H]` and `hs [T, B, H]`."""
    return _BACKWARD(residuals, d_last, d_hs)


RULES = Rules(of_each(forward_pass), of_each(tangent_pass), of_each(backward_pass), keeps_gates)
