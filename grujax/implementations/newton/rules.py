"""The implementation "newton": Newton's method on the whole sequence of states.

The states h₁ … h_T solve the recurrence where every residual r_t = f(h_{t−1}, x_t) − h_t is zero.
From a guess, all steps are taken at once, and the equations, linearized at the guess,

    δ_t = A_t·δ_{t−1} + r_t        h_t ← h_t + δ_t

are solved by an associative scan over time (`linear_recurrence`), in about 2·log₂ T rounds instead
of T. A_t is the Jacobian ∂h_t/∂h_{t−1} ("dense"; Lim et al. 2023) or its diagonal ("diagonal";
Gonzalez et al. 2024). The solution does not depend on A, and each iteration makes at least one more
step exact. The Jacobian takes fewer iterations, usually 4 or 5 instead of 15 or 16; its diagonal
takes H times less memory, and H² times less work in the scan. The default is the Jacobian up to
H = 4.

First guess. The gates see the initial state at all times. The recurrence then is linear, with
A_t = diag(u_t), and the first iteration solves it.

Damping. When the residual of a row has grown, A_t is scaled by one half, and then by 1.4 times more
whenever the residual has shrunk, up to 1. A scale of 0 would be plain fixed-point iteration, which
forgets mistakes as the network does. The diagonal is clipped to [−1, 1]. States are clipped to the
range of a GRU's states: h_t lies between h_{t−1} and n in (−1, 1), so |h_t| ≤ max(1, |h₀|).

Certificate. A row has converged when |r_t| ≤ c·ε·max(1, |h₀|) for all its steps and units, where ε
is the spacing of floating-point numbers at 1 and c = max(8, √H). NaN never satisfies this, and a
small δ certifies nothing. Rounding alone causes residuals of this size in any implementation. To
first order, the distance from the exact states h* is

    h*_t − h_t = Σ_s A_t ⋯ A_{s+1}·r_s

both for Newton's states and for the scan's, where r_s is the rounding error of step s. However
sensitive the network is, the error is that of the scan up to a factor of about c.

Fallback. Unless all rows have converged, the scan runs all rows, so the result is always right. A
chaotic network is such a case: a change of the state grows as exp(λ·t), where λ is the largest
Lyapunov exponent, and so does the condition number of the linear equations. In float32 no solution
reaches across more than about 16/λ steps, and an iteration gains little more than the one step that
it always makes exact.

Derivatives. By the implicit function theorem; no iteration is differentiated. At the solution

    ḣ_t = A_t·ḣ_{t−1} + e_t                 A the whole Jacobian
    λ_t = ∂L/∂h_t + A_{t+1}ᵀ·λ_{t+1}

where e is the tangent of a step from a state that does not change, and λ is the total derivative of
L by the state. These equations are linear. One scan with A, or one reverse scan with Aᵀ, solves
them ("dense"). With D, the diagonal, one scan would give a wrong result, so D preconditions an
iteration: the defect of the equation goes through the scan with D and is added to the solution.
Both are certified step by step: the defect is at most c·ε·(|λ_t| + |∂L/∂h_t|), or c·ε² of the row's
largest ∂L/∂h; likewise with ḣ and e. A gradient that vanishes on its way back therefore is exact
relative to itself down to ε of its original size, and relative to that size below; more would take
hundreds of iterations where the loss depends on the last state alone. Without the certificate, the
tangent or the backward pass of the scan runs. The gradients of parameters and inputs are those of
all steps at once, times λ.

Memory. About 20·T·B·H, plus 2·T·B·H² with the dense Jacobian, while a pass runs. Only `hs` is saved
from the forward to the backward pass.

bfloat16 and float16 are iterated in float32 and rounded once, at the end. Matmuls have the highest
precision, since the residual must become as small as rounding. Where `jax.export` leaves time or
batch symbolic, the plain implementation runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.implementations import scan
from grujax.implementations.derivatives import of_each
from grujax.implementations.newton.derivatives import find_gradient, find_tangent
from grujax.implementations.newton.states import NewtonResult, find_states
from grujax.implementations.newton.steps import flip_time, in_order
from grujax.implementations.structure import Rules
from grujax.implementations.types import (
    Outputs,
    Primals,
    RecurrenceArgs,
    Residuals,
    zero_invalid,
)
from grujax.jax_support.batching import sequential_vmap_on_cpu

DENSE_UP_TO = 4  # the largest hidden size for which the whole Jacobian is the default
MAX_ITERATIONS = 100


def choose_method(hidden_size: int) -> str:
    """The default: "dense" for few units, else "diagonal"."""
    return "dense" if hidden_size <= DENSE_UP_TO else "diagonal"


def solve(args: RecurrenceArgs, method: str, max_iterations: int) -> NewtonResult:
    """Newton's iteration for one batch axis; the states are in the order of the recurrence."""
    with jax.default_matmul_precision("highest"):
        return find_states(in_order(args), method, max_iterations)


def _forward(args: RecurrenceArgs) -> tuple[Array, Array]:
    result = solve(args, choose_method(args.h0.shape[-1]), MAX_ITERATIONS)
    valid, dtype = args.masks.valid, args.xs.dtype
    hs = zero_invalid(valid, flip_time(result.hs, args.reverse))
    h0 = args.h0.astype(hs.dtype)
    h_last = _last_state(result.hs, flip_time(valid, args.reverse), h0)

    def run_scan() -> tuple[Array, Array]:
        h_last, hs, _ = scan.forward_pass(args, False)
        return h_last, hs

    outputs = h_last.astype(dtype), hs.astype(dtype)
    return _unless(jnp.all(result.converged()), outputs, run_scan)


def _last_state(hs: Array, valid: Array | None, h0: Array) -> Array:
    """The state after the last valid step. It is read there, since carrying it could round it."""
    if valid is None:
        return hs[-1]
    steps = len(hs)
    last = jnp.max(jnp.where(valid, jnp.arange(steps)[:, None], -1), axis=0)
    h_last = jnp.take_along_axis(hs, jnp.maximum(last, 0)[None, :, None], axis=0)[0]
    return jnp.where(last[:, None] < 0, h0, h_last)


def _backward(residuals: Residuals, d_last: Array, d_hs: Array) -> Primals:
    method = choose_method(d_last.shape[-1])
    with jax.default_matmul_precision("highest"):
        gradient, is_exact = find_gradient(residuals, d_last, d_hs, method, MAX_ITERATIONS)
    return _unless(is_exact, gradient, lambda: scan.backward_pass(residuals, d_last, d_hs))


def _tangent(residuals: Residuals, tangents: Primals) -> tuple[Array, Array]:
    method = choose_method(residuals.hs.shape[-1])
    with jax.default_matmul_precision("highest"):
        found, is_exact = find_tangent(residuals, tangents, method, MAX_ITERATIONS)
    return _unless(is_exact, found, lambda: scan.tangent_pass(residuals, tangents))


def _unless(is_right: Array, result: Any, compute: Callable[[], Any]) -> Any:
    """`result` if `is_right`, else `compute()`.

    This is a loop of at most one round: under `vmap` it runs only if some result is not right,
    where `lax.cond` would always compute both branches.
    """

    def correct(_: Any) -> Any:
        return jnp.ones_like(is_right), compute()

    return lax.while_loop(lambda state: ~state[0], correct, (is_right, result))[1]


_FORWARD = sequential_vmap_on_cpu(_forward, lambda args: args.params)
_TANGENT = sequential_vmap_on_cpu(_tangent, lambda residuals, *_: residuals.args.params)
_BACKWARD = sequential_vmap_on_cpu(_backward, lambda residuals, *_: residuals.args.params)


def _forward_pass(args: RecurrenceArgs, _keep_gates: bool) -> Outputs:
    h_last, hs = _FORWARD(args)
    return h_last, hs, None


RULES = Rules(of_each(_forward_pass), of_each(_TANGENT), of_each(_BACKWARD), lambda _: False)
