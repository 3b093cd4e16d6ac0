"""The recurrence with all steps at once: Newton's method on the whole sequence of states.

States h₁ … h_T are those of the recurrence where every residual r_t = f(h_{t−1}, x_t) − h_t is
zero. From a guess all steps are taken at once, and the equations, made linear there, are solved:

    δ_t = A_t·δ_{t−1} + r_t        h_t ← h_t + δ_t

by an associative scan over time (`grujax.implementations.newton.linear_recurrence`), in about 2·log₂ T rounds
instead of T. A_t is the Jacobian ∂h_t/∂h_{t−1} ("dense"; Lim et al. 2023) or its diagonal alone
("diagonal"; Gonzalez et al. 2024). Whatever A is, the solution is the same, and each iteration
makes at least one more step exact. The Jacobian takes fewer iterations, usually 4 or 5 against 15
or 16; its diagonal takes H times less memory, and H² times less work in the scan. By default the
Jacobian is used up to H = 4.

First guess. The gates see the initial state at all times: the recurrence then is linear, with
A_t = diag(u_t), and the first iteration solves it.

Damping. Where a row's residual has grown, A_t counts half, and then 1.4 times more whenever it has
shrunk, until it counts in full: at 0 this would be plain fixed-point iteration, which forgets
mistakes as the network does. The diagonal stays in [−1, 1]. And states stay where a GRU's are: h_t
lies between h_{t−1} and n in (−1, 1), so that |h_t| ≤ max(1, |h₀|).

Certificate. A row has converged when |r_t| ≤ c·ε·max(1, |h₀|) for all its steps and units, with ε
the spacing of floating-point numbers at 1 and c = max(8, √H); NaN is no such residual, and a small
δ certifies nothing. This is what rounding does to a step anyway. To first order, the distance from
the exact states h* is

    h*_t − h_t = Σ_s A_t ⋯ A_{s+1}·r_s

for Newton's states, and for the scan's with what each of its steps has rounded as r_s: however
sensitive the network is, the error is that of the scan up to a factor of about c.

Fallback. Unless all rows have converged, all are run by the scan: the result is always right. A
network in chaos is such a case. There a change of the state grows as exp(λ·t), λ the largest
Lyapunov exponent, and so does the condition number of the linear equations: in float32 no solution
reaches across more than about 16/λ steps, and iterations gain little more than the one step each
that is exact in any case.

Gradient. By the implicit function theorem; no iteration is differentiated. At the solution

    λ_t = ∂L/∂h_t + A_{t+1}ᵀ·λ_{t+1}        A the whole Jacobian

with λ the complete derivative by the state. This is linear. One reverse scan with A solves it
("dense"); with D, the diagonal, one would give a wrong gradient, and it is the preconditioner of an
iteration instead: what is missing in the equation goes through the reverse scan with Dᵀ, and is
added to λ. Both are certified step by step: at most c·ε·(|λ_t| + |∂L/∂h_t|) may be missing, or
c·ε² of the row's largest ∂L/∂h. So a gradient that vanishes on its way is exact relative to itself
until it is ε of what it was, and beyond that relative to that; accuracy without end would take
hundreds of iterations where the loss is of the last state alone. Without the certificate the
backward pass of the scan takes over. The gradients of parameters and inputs are those of all steps
at once, with λ behind.
Gradients of the gradient are taken by JAX, through the plain implementation.

Memory. About 20·T·B·H, and with the dense Jacobian 2·T·B·H² beside it, while a pass runs; nothing
but `hs` is kept between the two.

bfloat16 and float16 are iterated in float32, and rounded once, at the end. Matmuls have the highest
precision, so that the residual gets as small as it must. Where `jax.export` leaves time or batch
open, the plain implementation runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.implementations import scan
from grujax.implementations.batching import over_models
from grujax.implementations.newton.adjoint import find_gradient
from grujax.implementations.newton.states import Found, find_states
from grujax.implementations.newton.steps import as_course, turn
from grujax.implementations.passes import Inputs, Kept, Outputs, Passes, run_passes
from grujax.implementations.types import Masks, where_exists

DENSE_UP_TO = 4  # the largest hidden size for which the whole Jacobian is the default
MAX_ITERATIONS = 100


def choose_method(hidden_size: int) -> str:
    """The default: the dense Jacobian for few units, else the diagonal."""
    return "dense" if hidden_size <= DENSE_UP_TO else "diagonal"


def solve(inputs: Inputs, masks: Masks, reverse: bool, method: str, max_iterations: int) -> Found:
    """The states in the order of the walk, and how they were found."""
    with jax.default_matmul_precision("highest"):
        return find_states(as_course(inputs, masks, reverse), method, max_iterations)


def _forward(inputs: Inputs, masks: Masks, *, reverse: bool) -> tuple[Array, Array]:
    found = solve(inputs, masks, reverse, choose_method(inputs.h0.shape[-1]), MAX_ITERATIONS)
    hs = where_exists(masks.exists, turn(found.hs, reverse))
    h_last = _last_state(found.hs, turn(masks.exists, reverse), inputs.h0)
    outputs = h_last.astype(inputs.xs.dtype), hs.astype(inputs.xs.dtype)

    def by_scan() -> tuple[Array, Array]:
        h_last, hs, _ = scan.forward_pass(reverse, False, inputs, masks)
        return h_last, hs

    return _unless(jnp.all(found.converged()), outputs, by_scan)


def _last_state(hs: Array, exists: Array | None, h0: Array) -> Array:
    """The state after the last step that exists: carrying it on to the end could change a bit."""
    if exists is None:
        return hs[-1]
    steps = len(hs)
    last = jnp.max(jnp.where(exists, jnp.arange(steps)[:, None], -1), axis=0)
    h_last = jnp.take_along_axis(hs, jnp.maximum(last, 0)[None, :, None], axis=0)[0]
    return jnp.where(last[:, None] < 0, h0, h_last)


def _backward(kept: Kept, d_last: Array, d_hs: Array, *, reverse: bool) -> Inputs:
    method = choose_method(kept.inputs.h0.shape[-1])
    with jax.default_matmul_precision("highest"):
        gradient, is_exact = find_gradient(kept, d_last, d_hs, reverse, method, MAX_ITERATIONS)
    return _unless(is_exact, gradient, lambda: scan.backward_pass(reverse, kept, d_last, d_hs))


def _unless(is_right: Array, result: Any, compute: Callable[[], Any]) -> Any:
    """`result` if `is_right`, else what `compute` gives.

    A loop of one round at most: under vmap it is entered only if some result is not right, where
    `lax.cond` would always compute both.
    """

    def correct(_: Any) -> Any:
        return jnp.ones_like(is_right), compute()

    return lax.while_loop(lambda state: ~state[0], correct, (is_right, result))[1]


_FORWARD = {
    reverse: over_models(partial(_forward, reverse=reverse), lambda inputs, _: inputs.params)
    for reverse in (False, True)
}
_BACKWARD = {
    reverse: over_models(partial(_backward, reverse=reverse), lambda kept, *_: kept.inputs.params)
    for reverse in (False, True)
}


def _forward_pass(reverse: bool, _keep_gates: bool, inputs: Inputs, masks: Masks) -> Outputs:
    h_last, hs = _FORWARD[reverse](inputs, masks)
    return h_last, hs, None


def _backward_pass(reverse: bool, kept: Kept, d_last: Array, d_hs: Array) -> Inputs:
    return _BACKWARD[reverse](kept, d_last, d_hs)


run = partial(run_passes, Passes(_forward_pass, _backward_pass, lambda _: False))
