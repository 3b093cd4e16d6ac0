"""The fast recurrence in pure JAX, with a hand-derived gradient: the default where no kernel runs.

Forward. Time is cut into chunks of K steps. A chunk's input projections are three matmuls, one
operand per gate (slicing a packed `[.., 3H]` projection inside the loop would defeat XLA's CPU
vectoriser); a step then is one matmul with the packed recurrent weights, and the gates.

A step that does not exist gets +inf as the update gate's projection, and so does a unit that
zoneout keeps. Then z = σ(∞) = 1 exactly, so the state is carried bit for bit, and
z·(1 − z) = 1 − z = 0, so no gradient reaches the gates.

Gradient. With λ = ∂L/∂h', complete, h the state before the step and c = h·Whn + bhn, the chain
rule through h' = z∘h + (1 − z)∘n gives the gradients with respect to the gates' pre-activations,
for reset_after=True:

    δn = λ ∘ (1 − z) ∘ (1 − n²)             δc = δn ∘ r
    δz = λ ∘ (h − n) ∘ z ∘ (1 − z)          δr = δc ∘ c ∘ (1 − r)
    ∂L/∂h = λ ∘ z + [δr δz δc]·[Whr Whz Whn]ᵀ

Every factor behind λ is known before the walk. The sequential part of the backward pass is thus one
matmul and a few products a step; the gradients of the weights, biases and inputs are matmuls over
the whole chunk afterwards:

    ∂L/∂Wx = xᵀ·[δr δz δn]     ∂L/∂Wh = hᵀ·[δr δz δc]     ∂L/∂x = [δr δz δn]·Wxᵀ

For reset_after=False the candidate's path has a matmul of its own, q = δn·Whnᵀ:

    δr = q ∘ h ∘ r ∘ (1 − r)                ∂L/∂h = λ ∘ z + q ∘ r + [δr δz]·[Whr Whz]ᵀ
    ∂L/∂Whn = (r ∘ h)ᵀ·δn

Recurrent dropout shows the gates s = m∘h instead of h: s takes h's place in the products with Wh
and in c, and what these send back is multiplied by m. Zoneout's expectation replaces z by
u = z + p(1 − z) in h', in 1 − z and in λ ∘ z, and multiplies δz by ∂u/∂z = 1 − p.

Memory. Long sequences, T ≥ 256 with B ≥ 16, keep nothing but `hs`; the gates of a chunk are
recomputed from the states by one parallel matmul. Short ones, and thin ones, keep the gates: there
the matmul costs more than the memory. In numbers beside inputs, outputs and parameters:

    kept between the two passes     T·B·H (`hs`, an output already), and 4·T·B·H for the gates
    while a pass runs               about 12·K·B·H, for a chunk

Autodiff of a scan keeps about 10·T·B·H.

Gradients of the gradient are taken by JAX, through the plain implementation.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import GRUGates, update_state
from grujax.implementations.batching import over_models
from grujax.implementations.gates import gates_of
from grujax.implementations.passes import Inputs, Kept, Outputs, Passes, run_passes
from grujax.implementations.scan.backward import backward
from grujax.implementations.scan.chunks import cut_time, prepare_chunk, write_steps
from grujax.implementations.types import Masks, where_exists


def pays_to_keep_gates(inputs: Inputs) -> bool:
    """See the module's docstring."""
    steps, batch, _ = inputs.xs.shape
    return steps < 256 or batch < 16


def _forward(inputs: Inputs, masks: Masks, *, reverse: bool, keep_gates: bool) -> Outputs:
    params, xs, h0, reset_state = inputs
    steps, batch, _ = xs.shape
    chunks = cut_time(steps, batch, reverse)
    evaluate = gates_of(params)

    def step(h, at_step):
        projected, exists_now, starts_now = at_step
        if starts_now is not None:
            h = jnp.where(starts_now[:, None], reset_state, h)
        gates = evaluate(masks.seen(h), projected)
        update = masks.expected_update(gates.update)
        h = update_state(GRUGates(gates.reset, update, gates.candidate), h)
        return h, (where_exists(exists_now, h), gates if keep_gates else None)

    def body(index, carry):
        h, outputs = carry
        chunk = prepare_chunk(chunks, index, xs, masks)
        at_steps = (chunk.project_inputs(params), chunk.masks.exists, chunk.masks.starts)
        h, outputs_here = lax.scan(step, h, at_steps, reverse=reverse)
        return h, write_steps(chunk.begin, outputs, outputs_here)

    gates = None
    if keep_gates:
        gates = jax.eval_shape(evaluate, h0, (h0, h0, h0))
    outputs = jax.tree.map(lambda a: jnp.zeros((steps, *a.shape), a.dtype), (h0, gates))
    h_last, (hs, gates) = chunks.walk(body, (h0, outputs))
    return h_last, hs, gates


_FORWARD = {
    (reverse, keep_gates): over_models(
        partial(_forward, reverse=reverse, keep_gates=keep_gates), lambda inputs, _: inputs.params
    )
    for reverse in (False, True)
    for keep_gates in (False, True)
}
_BACKWARD = {
    reverse: over_models(partial(backward, reverse=reverse), lambda kept, *_: kept.inputs.params)
    for reverse in (False, True)
}


def forward_pass(reverse: bool, keep_gates: bool, inputs: Inputs, masks: Masks) -> Outputs:
    return _FORWARD[reverse, keep_gates](inputs, masks)


def backward_pass(reverse: bool, kept: Kept, d_last: Array, d_hs: Array) -> Inputs:
    return _BACKWARD[reverse](kept, d_last, d_hs)


PASSES = Passes(forward_pass, backward_pass, pays_to_keep_gates)
run = partial(run_passes, PASSES)
