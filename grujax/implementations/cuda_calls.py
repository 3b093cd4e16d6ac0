"""The two passes by the CUDA kernel, for a stack of models or one: what is lowered on a GPU.

The kernel (`grujax/kernels/gru.cu`) walks time; all that depends on no earlier state is done here
by XLA, over all steps at once: the inputs' projection, with what does not exist or is kept as +inf
in the update gate; the states before each step; and the gradients of inputs and weights.

Units are padded to 32, 64, 128, 256 or 512 with zeros, which stay zero. Rows of the batch are cut
into tiles, one for a cluster of blocks, as many as fill the chip.

`own` is, in all that follows, a tree of bools of the arguments' structure: which of their leaves
have a leading axis of models.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.implementations.cuda_launch import Launch, Operand, pad, pad_inputs
from grujax.implementations.cuda_layouts import choose_layout
from grujax.implementations.gates import Gates
from grujax.implementations.masks import Masks, where_exists
from grujax.implementations.passes import Inputs, Kept, Outputs, states_before
from grujax.implementations.stacks import Stack
from grujax.params import GRUParams


def forward(
    stack: Stack, own: tuple[Any, Any], keep_gates: bool, inputs: Inputs, masks: Masks
) -> Outputs:
    """As `scan.forward_pass`, for each model; all results have an axis of models if any has."""
    of_inputs, of_masks = own
    units, dtype = inputs.h0.shape[-1], inputs.h0.dtype
    reset_after = inputs.params.reset_after
    steps, batch, _ = inputs.xs.shape[-3:]
    layout = choose_layout(dtype, units, batch, stack.number)
    inputs, masks = pad_inputs(inputs, masks, layout.units)
    projected, is_own, is_inner = _project(own, inputs, masks)
    operands = [
        Operand(projected, is_own),
        Operand(inputs.h0, of_inputs.h0),
        Operand(inputs.reset_state, of_inputs.reset_state),
        Operand(inputs.params.w_h.astype(jnp.float32), of_inputs.params.w_h),
        Operand(inputs.params.b_hn.astype(jnp.float32), of_inputs.params.b_hn),
    ]
    states = jax.ShapeDtypeStruct((stack.number, batch, layout.units), dtype)
    in_time = (stack.number, steps, batch, layout.units)
    gate = jax.ShapeDtypeStruct(in_time, jnp.float32)
    gates = [gate] * (3 + reset_after if keep_gates else 0)
    results = [states, jax.ShapeDtypeStruct(in_time, dtype), *gates]
    launch = Launch(
        layout, stack, steps, batch, dtype.name, reset_after, is_inner=is_inner, keep=keep_gates
    )
    h_last, hs, *kept = stack.trim(launch(operands, masks, of_masks, results), units)
    hs, _ = stack.each(where_exists, (of_masks.exists, stack.is_several), masks.exists, hs)
    return h_last, hs, Gates(*kept, *(None,) * (not reset_after)) if keep_gates else None


def backward(
    stack: Stack,
    own: tuple[Any, bool, bool],
    kept: Kept,
    d_last: Array,  # [B, H], and as all an axis of models before it where `own` says so
    d_hs: Array,  # [T, B, H]
) -> Inputs:
    """As `scan.backward_pass`, for each model."""
    of_kept, of_last, of_hs = own
    units, dtype = kept.inputs.h0.shape[-1], d_hs.dtype
    reset_after = kept.inputs.params.reset_after
    steps, batch, _ = kept.inputs.xs.shape[-3:]
    layout = choose_layout(dtype, units, batch, stack.number)
    before, of_before = _states_before(stack, of_kept, kept)
    gates, of_gates = kept.gates, of_kept.gates
    if gates is None:
        of_arguments = of_kept.inputs, of_kept.masks, of_before
        gates, is_own = stack.each(_gates, of_arguments, kept.inputs, kept.masks, before)
        of_gates = jax.tree.map(lambda _: is_own, gates)
    of_exists = of_kept.masks.exists, of_hs
    d_hs, of_hs = stack.each(where_exists, of_exists, kept.masks.exists, d_hs)

    inputs, masks = pad_inputs(kept.inputs, kept.masks, layout.units)
    in_time = [*jax.tree.leaves(gates), before, d_hs, d_last]
    of_in_time = [*jax.tree.leaves(of_gates), of_before, of_hs, of_last]
    operands = [
        *(Operand(pad(a, layout.units), o) for a, o in zip(in_time, of_in_time, strict=True)),
        Operand(inputs.params.w_h.astype(jnp.float32), of_kept.inputs.params.w_h),
    ]
    of_three = jax.ShapeDtypeStruct((stack.number, steps, batch, 3, layout.units), dtype)
    states = jax.ShapeDtypeStruct((stack.number, batch, layout.units), jnp.float32)
    launch = Launch(layout, stack, steps, batch, dtype.name, reset_after, is_backward=True)
    shapes = [*[of_three] * (1 + reset_after), states, states]
    results = launch(operands, masks, of_kept.masks, shapes)
    *d_gates, d_h0, d_reset = stack.trim(results, units)
    of_results = stack.is_several, stack.is_several
    (d_params, d_xs), _ = stack.each(
        _of_weights,
        (of_kept.inputs, of_kept.masks, of_before, of_gates.reset, *of_results),
        kept.inputs,
        kept.masks,
        before,
        gates.reset,
        d_gates[0],  # with respect to what the inputs have added to
        d_gates[-1],  # and to the products with the state
    )
    gradient = Inputs(d_params, d_xs, d_h0, d_reset)
    return jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, kept.inputs)


# --- what depends on no earlier state, for one model ----------------------------------------------


def _matmul(subscripts: str, one: Array, other: Array) -> Array:
    """In float32, and where the operands are that, to its last bits: no TF32."""
    return jnp.einsum(
        subscripts,
        one,
        other,
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )


def _projection(params: GRUParams, xs: Array, masks: Masks) -> Array:
    """The inputs' part of the gates, float32 `[T, B, 3, H]`; +inf in z where the state stays."""
    projected = _matmul("tbi,gih->tbgh", xs, params.w_x) + params.b_x
    stays = None if masks.exists is None else ~masks.exists[..., None]
    if masks.keeps is not None:
        stays = masks.keeps if stays is None else stays | masks.keeps
    if stays is not None:
        update = jnp.arange(3)[:, None] == 1
        projected = jnp.where(update & stays[..., None, :], jnp.inf, projected)
    return projected


def _gates(inputs: Inputs, masks: Masks, before: Array) -> Gates:
    """What the forward pass did not keep, each `[T, B, H]`."""
    params, seen = inputs.params, masks.seen(before)
    projected = _projection(params, inputs.xs, masks)
    products = _matmul("tbk,gkh->tbgh", seen, params.w_h[:2])
    reset, update = (jax.nn.sigmoid(projected[:, :, g] + products[:, :, g]) for g in (0, 1))

    def product(states: Array) -> Array:
        return _matmul("tbk,kh->tbh", states, params.w_h[2]) + params.b_hn

    if params.reset_after:
        after = product(seen)
        return Gates(reset, update, jnp.tanh(projected[:, :, 2] + reset * after), after)
    return Gates(reset, update, jnp.tanh(projected[:, :, 2] + product(reset * seen)), None)


def _of_weights(
    inputs: Inputs, masks: Masks, before: Array, reset: Array, d_x: Array, d_products: Array
) -> tuple[GRUParams, Array]:
    reset_after, seen = inputs.params.reset_after, masks.seen(before)

    def of_products(states: Array, d_products: Array) -> Array:
        return _matmul("tbk,tbgh->gkh", states, d_products)

    if reset_after:
        d_w_h = of_products(seen, d_products)
    else:
        of_candidate = of_products(reset * seen, d_products[:, :, 2:])
        d_w_h = jnp.concatenate([of_products(seen, d_products[:, :, :2]), of_candidate])
    d_params = GRUParams(
        w_x=_matmul("tbi,tbgh->gih", inputs.xs, d_x),
        w_h=d_w_h,
        b_x=d_x.sum((0, 1), dtype=jnp.float32),
        b_hn=d_products[:, :, 2].sum((0, 1), dtype=jnp.float32),
        reset_after=reset_after,
    )
    return d_params, _matmul("tbgh,gih->tbi", d_x, inputs.params.w_x)


# --- stacks of models -----------------------------------------------------------------------------


def _project(own: tuple[Any, Any], inputs: Inputs, masks: Masks) -> tuple[Array, bool, bool]:
    """`_projection`, whether it has an axis of models, and whether that is the third, not first.

    Models that share their inputs are one matmul, whose result has the models inside.
    """
    of_inputs, of_masks = own
    of_params = of_inputs.params
    axes = _axes((of_params, of_inputs.xs, of_masks))
    arguments = inputs.params, inputs.xs, masks._replace(starts=None, scale=None)
    axes = axes[0], axes[1], axes[2]._replace(starts=None, scale=None)
    own_leaves = jax.tree.leaves((of_params, of_inputs.xs, of_masks.exists, of_masks.keeps))
    if not any(own_leaves):
        return _projection(*arguments), False, False
    inner = not any(jax.tree.leaves((of_inputs.xs, of_masks.exists, of_masks.keeps)))
    projected = jax.vmap(_projection, in_axes=axes, out_axes=2 if inner else 0)(*arguments)
    return projected, True, inner


def _states_before(stack: Stack, own: Any, kept: Kept) -> tuple[Array, bool]:
    """`states_before`, and whether it has an axis of models."""

    def select(kept: Any) -> tuple[Any, ...]:
        return kept.hs, kept.inputs.h0, kept.inputs.reset_state, kept.masks.starts

    return stack.directed(states_before, select(own), *select(kept))


def _axes(own: Any) -> Any:
    return jax.tree.map(lambda is_own: 0 if is_own else None, own)
