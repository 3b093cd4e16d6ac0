"""What XLA computes around the CUDA kernel, over all steps at once, for one model."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import evaluate_gates
from grujax.implementations.gates import set_carried, weight_gradients
from grujax.implementations.types import GateResiduals, RecurrenceArgs
from grujax.params import GRUParams

# In float32; and exact where the operands are: no TF32.
_einsum = partial(jnp.einsum, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)


def project(xs: Array, weights: Array, bias: Array | None = None) -> Array:
    """`[T, B, I]` by `[..., I, H]`, plus a bias `[..., H]`: float32 `[T, B, ..., H]`."""
    weights = jnp.moveaxis(weights, -2, 0)
    product = _einsum("ri,ic->rc", _as_rows(xs), weights.reshape(weights.shape[0], -1))
    if bias is not None:
        product += bias.astype(jnp.float32).reshape(-1)
    return product.reshape(*xs.shape[:2], *weights.shape[1:])


def recompute_gates(args: RecurrenceArgs, seen: Array) -> GateResiduals:
    """The gates that the forward pass did not save, each `[T, B, H]`."""
    params = args.params

    def multiply(states: Array, begin: int, end: int) -> list[Array]:
        products = project(states, params.w_h[begin:end])
        return [products[:, :, gate] for gate in range(end - begin)]

    projected = project(args.xs, params.w_x, params.b_x)
    x_r, x_z, x_n = (projected[:, :, gate] for gate in range(3))
    gates, product = evaluate_gates(
        (x_r, x_z, x_n), seen, params.b_hn.astype(jnp.float32), multiply, params.reset_after
    )
    return GateResiduals(
        gates.reset, set_carried(gates.update, args.masks, 1), gates.candidate, product
    )


def input_and_weight_gradients(
    params: GRUParams,
    xs: Array,  # [T, B, I]
    seen: Array,  # [T, B, H]
    reset: Array,  # [T, B, H]
    d_x: Array,  # [T, B, 3, H], of the projected inputs
    d_h: Array,  # [T, B, 3, H], of the products with the state
) -> tuple[GRUParams, Array]:
    """The gradients of the parameters and of `xs`, in float32."""
    units = seen.shape[-1]
    d_x, d_h = (d.reshape(*d.shape[:2], -1) for d in (d_x, d_h))

    def multiply(operand: Array, gradient: Array) -> Array:  # [G, N, H]
        product = _einsum("ri,rc->ic", _as_rows(operand), _as_rows(gradient))
        return product.reshape(product.shape[0], -1, units).swapaxes(0, 1)

    if params.reset_after:
        blocks = [(seen, d_h)]
    else:
        blocks = [(seen, d_h[..., : 2 * units]), (reset * seen, d_h[..., 2 * units :])]
    d_params = weight_gradients(xs, d_x, blocks, multiply, params.reset_after)
    w_x = params.w_x.swapaxes(0, 1)
    d_xs = _einsum("rc,ic->ri", _as_rows(d_x), w_x.reshape(w_x.shape[0], -1))
    return d_params, d_xs.reshape(xs.shape)


def _as_rows(array: Array) -> Array:
    """`[T, B, ...]` as a matrix with a row for each row of each step."""
    return array.reshape(array.shape[0] * array.shape[1], -1)
