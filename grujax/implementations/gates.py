"""The gates of many steps at once, and what implementations do with them before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array

from grujax.cell import (
    MultiplyStates,
    evaluate_gates,
    matmul,
    matmul_each,
    multiply_states,
    project_inputs,
)
from grujax.implementations.types import GateResiduals, RecurrenceArgs, StepMasks
from grujax.params import GRUParams

Projected = tuple[Array, Array, Array]  # x·Wx + b for r, z, n, each [..., B, H]


def make_gates_fn(
    params: GRUParams, is_single: bool = False
) -> Callable[[Array, Projected], GateResiduals]:
    """The function `(h, projected) -> GateResiduals`, for `h [..., B, H]` as the gates see it.

    The recurrent matrices of all gates are packed for one matmul, unless it runs a single step, as
    packing takes as long. The projected inputs are one operand per gate: slicing a packed array
    inside a loop would defeat XLA's CPU vectorizer.
    """
    multiply = multiply_states(params, matmul_each) if is_single else _multiply_packed(params)

    def gates(h: Array, projected: Projected) -> GateResiduals:
        found, product = evaluate_gates(projected, h, params.b_hn, multiply, params.reset_after)
        return GateResiduals(*found, product)

    return gates


def _multiply_packed(params: GRUParams) -> MultiplyStates:
    blocks = ((0, 3),) if params.reset_after else ((0, 2), (2, 3))
    packed = {block: pack_gates(params.w_h[slice(*block)]) for block in blocks}

    def multiply(states: Array, begin: int, end: int) -> Sequence[Array]:
        return jnp.split(matmul(states, packed[begin, end]), end - begin, axis=-1)

    return multiply


def project_steps(args: RecurrenceArgs) -> Projected:
    """The inputs' part of each gate, `[T, B, H]`: huge for update gates that carry the state.

    Then z = σ(huge) = 1 exactly. The state is carried bit for bit, and z·(1 − z) = 1 − z = 0, so no
    gradient reaches the gates. It is finite: `jax_debug_infs` finds no infinity that is not the
    user's.
    """
    x_r, x_z, x_n = project_inputs(args.params, args.xs, matmul_each)
    huge = float(jnp.finfo(x_z.dtype).max) / 2  # no product with Wh overflows it
    return x_r, set_carried(x_z, args.masks, huge), x_n


def set_carried(of_update: Array, masks: StepMasks, value: float) -> Array:
    """`of_update [T, B, H]` with `value` where the step is not valid or the unit is kept."""
    if masks.valid is not None:
        of_update = jnp.where(~masks.valid[..., None], value, of_update)
    if masks.kept is not None:
        of_update = jnp.where(masks.kept, value, of_update)
    return of_update


def pack_gates(gates: Array) -> Array:
    """`[G, N, H] -> [N, G·H]`: the matrices of several gates side by side, for one matmul."""
    return jnp.concatenate(tuple(gates), axis=-1)


def weight_gradients(
    xs: Array,  # [T, B, I]
    d_x: Array,  # [T, B, 3·H]: δr, δz, δn
    d_h: Sequence[tuple[Array, Array]],
    multiply: Callable[[Array, Array], Array],
    reset_after: bool,
) -> GRUParams:
    """The gradients of the parameters, in float32:

        ∂L/∂Wx = xᵀ·[δr δz δn]        ∂L/∂Wh = hᵀ·[δr δz δc]

    Args:
        xs: the inputs.
        d_x: the gradients of the gates' pre-activations, side by side.
        d_h: the gradients of the recurrent products, each `[T, B, G·H]`, in blocks of G gates;
            and before each the states that were multiplied, `[T, B, H]`.
        multiply: the product of `[T, B, N]` and `[T, B, G·H]` over T and B, `[G, N, H]`.
        reset_after: as in `GRUParams`.
    """
    hidden_size = d_x.shape[-1] // 3
    of_candidate = d_h[-1][1][..., -hidden_size:]
    return GRUParams(
        w_x=multiply(xs, d_x),
        w_h=jnp.concatenate([multiply(states, gradient) for states, gradient in d_h]),
        b_x=d_x.sum((0, 1), dtype=jnp.float32).reshape(3, hidden_size),
        b_hn=of_candidate.sum((0, 1), dtype=jnp.float32),
        reset_after=reset_after,
    )
