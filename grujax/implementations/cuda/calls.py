"""The two passes by the CUDA kernel, for a stack of models or one: what is lowered on a GPU.

The kernel (`src/gru.cu`) walks time; all that depends on no earlier state is done here
by XLA, over all steps at once: the inputs' projection, the states before each step, and the
gradients of inputs and weights. The products are written as those of two matrices, of all rows of
all steps, since XLA then neither transposes nor adds anything by itself.

Units are padded to 32, 64, 128, 256 or 512 with zeros, which stay zero. Rows of the batch are cut
into tiles, one for a cluster of blocks, as many as fill the chip.

Where `batch_major`, operands and results `[T, B, ...]` are seen as `[B, T, ...]` by those who use
them: they are turned first and last here, and the kernel and all products between take them so. XLA
leaves out what is turned twice, so nothing is transposed. What is said of shapes below is `[T, B]`
in either order.

`own` is, in all that follows, a tree of bools of the arguments' structure: which of their leaves
have a leading axis of models.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.implementations.cuda.launch import Launch, Operand, pad, pad_inputs
from grujax.implementations.cuda.layouts import choose_layout
from grujax.implementations.gates import Gates
from grujax.implementations.passes import Inputs, Kept, Outputs, states_before
from grujax.implementations.primitive.model_batch import Stack
from grujax.implementations.types import Masks
from grujax.params import GRUParams


def forward(
    stack: Stack,
    own: tuple[Any, Any],
    keep_gates: bool,
    inputs: Inputs,
    masks: Masks,
    batch_major: bool = False,
) -> Outputs:
    """As `scan.forward_pass`, for each model; all results have an axis of models if any has."""
    of_inputs, of_masks = own
    units, dtype = inputs.h0.shape[-1], inputs.h0.dtype
    reset_after = inputs.params.reset_after
    steps, batch, _ = inputs.xs.shape[-3:]
    layout = choose_layout(dtype, units, batch, stack.number)
    if batch_major:
        inputs, masks = _turn_arguments(own, inputs, masks)
    inputs, masks = pad_inputs(inputs, masks, layout.units)
    projected, is_own, is_inner = _project(stack, of_inputs, inputs)
    operands = [
        Operand(projected, is_own),
        Operand(inputs.h0, of_inputs.h0),
        Operand(inputs.reset_state, of_inputs.reset_state),
        Operand(inputs.params.w_h.astype(jnp.float32), of_inputs.params.w_h),
        Operand(inputs.params.b_hn.astype(jnp.float32), of_inputs.params.b_hn),
    ]
    states = jax.ShapeDtypeStruct((stack.number, batch, layout.units), dtype)
    in_time = (stack.number, *inputs.xs.shape[-3:-1], layout.units)
    gate = jax.ShapeDtypeStruct(in_time, jnp.float32)
    gates = [gate] * (3 + reset_after if keep_gates else 0)
    results = [states, jax.ShapeDtypeStruct(in_time, dtype), *gates]
    of_shape = Launch(layout, stack, steps, batch, dtype.name, reset_after, batch_major)
    launch = of_shape._replace(is_inner=is_inner, keep=keep_gates)
    h_last, hs, *kept = stack.trim(launch(operands, masks, of_masks, results), units)
    if batch_major:
        hs, *kept = (_turn(array, stack.is_several) for array in (hs, *kept))
    return h_last, hs, Gates(*kept, *(None,) * (not reset_after)) if keep_gates else None


def backward(
    stack: Stack,
    own: tuple[Any, bool, bool],
    kept: Kept,
    d_last: Array,  # [B, H], and as all an axis of models before it where `own` says so
    d_hs: Array,  # [T, B, H]
    batch_major: bool = False,
) -> Inputs:
    """As `scan.backward_pass`, for each model."""
    of_kept, of_last, of_hs = own
    units, dtype = kept.inputs.h0.shape[-1], d_hs.dtype
    reset_after = kept.inputs.params.reset_after
    steps, batch, _ = kept.inputs.xs.shape[-3:]
    layout = choose_layout(dtype, units, batch, stack.number)
    if batch_major:
        kept, d_hs = _turn_kept(of_kept, kept), _turn(d_hs, of_hs)
    time = int(batch_major)  # the axis of T
    before, of_before = _states_before(stack, of_kept, kept, time)
    of_scale = of_kept.masks.scale, of_before
    seen, of_seen = stack.each(partial(_seen, time), of_scale, kept.masks.scale, before)
    gates, of_gates = kept.gates, of_kept.gates
    if gates is None:
        of_arguments = of_kept.inputs, of_kept.masks, of_seen
        gates, is_own = stack.each(_gates, of_arguments, kept.inputs, kept.masks, seen)
        of_gates = jax.tree.map(lambda _: is_own, gates)
    inputs, masks = pad_inputs(kept.inputs, kept.masks, layout.units)
    in_time = [*jax.tree.leaves(gates), before, d_hs, d_last]
    of_in_time = [*jax.tree.leaves(of_gates), of_before, of_hs, of_last]
    operands = [
        *(Operand(pad(a, layout.units), o) for a, o in zip(in_time, of_in_time, strict=True)),
        Operand(inputs.params.w_h.astype(jnp.float32), of_kept.inputs.params.w_h),
    ]
    rows = inputs.xs.shape[-3:-1]
    of_three = jax.ShapeDtypeStruct((stack.number, *rows, 3, layout.units), dtype)
    states = jax.ShapeDtypeStruct((stack.number, batch, layout.units), jnp.float32)
    of_shape = Launch(layout, stack, steps, batch, dtype.name, reset_after, batch_major)
    launch = of_shape._replace(is_backward=True)
    shapes = [*[of_three] * (1 + reset_after), states, states]
    results = launch(operands, masks, of_kept.masks, shapes)
    *d_gates, d_h0, d_reset = stack.trim(results, units)
    of_results = stack.is_several, stack.is_several
    unpadded, of_inputs = kept.inputs, of_kept.inputs
    if stack.is_several and not of_inputs.xs and inputs.xs.shape[-1] <= 3 * units:
        # Else XLA makes one product of all models', for which it transposes the gates' gradients.
        xs = jnp.broadcast_to(unpadded.xs, (stack.number, *unpadded.xs.shape))
        unpadded, of_inputs = unpadded._replace(xs=xs), of_inputs._replace(xs=True)
    (d_params, d_xs), _ = stack.each(
        _of_weights,
        (of_inputs, of_seen, of_gates.reset, *of_results),
        unpadded,
        seen,
        gates.reset,
        d_gates[0],  # with respect to what the inputs have added to
        d_gates[-1],  # and to the products with the state
    )
    if batch_major:
        d_xs = _turn(d_xs, stack.is_several)
    gradient = Inputs(d_params, d_xs, d_h0, d_reset)
    return jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, kept.inputs)


def _turn(array: Array, is_own: bool) -> Array:
    """`array` with its axes of time and batch exchanged."""
    time = int(is_own)
    return jnp.swapaxes(array, time, time + 1)


def _turn_arguments(own: tuple[Any, Any], inputs: Inputs, masks: Masks) -> tuple[Inputs, Masks]:
    of_inputs, of_masks = own
    in_time = masks.exists, masks.starts, masks.keeps
    of_in_time = of_masks.exists, of_masks.starts, of_masks.keeps
    exists, starts, keeps = jax.tree.map(_turn, in_time, of_in_time)
    masks = masks._replace(exists=exists, starts=starts, keeps=keeps)
    return inputs._replace(xs=_turn(inputs.xs, of_inputs.xs)), masks


def _turn_kept(own: Any, kept: Kept) -> Kept:
    inputs, masks = _turn_arguments((own.inputs, own.masks), kept.inputs, kept.masks)
    gates = jax.tree.map(_turn, kept.gates, own.gates)
    return Kept(inputs, masks, _turn(kept.hs, own.hs), gates)


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


def _rows(array: Array) -> Array:
    """`[T, B, ...]` as a matrix with a row for each row of each step."""
    return array.reshape(array.shape[0] * array.shape[1], -1)


def _multiply(xs: Array, weights: Array, bias: Array | None = None) -> Array:
    """`[T, B, I]` by `[..., I, H]`, in float32 `[T, B, ..., H]`, and a bias `[..., H]`."""
    weights = jnp.moveaxis(weights, -2, 0)
    product = _matmul("ri,ic->rc", _rows(xs), weights.reshape(weights.shape[0], -1))
    if bias is not None:
        product += bias.astype(jnp.float32).reshape(-1)
    return product.reshape(*xs.shape[:2], *weights.shape[1:])


def _seen(time: int, scale: Array | None, before: Array) -> Array:
    """What the gates see of the states before all steps, of which `time` is the axis of T."""
    of_all_steps = None if scale is None else jnp.expand_dims(scale, time)
    return Masks(scale=of_all_steps).seen(before)


def _gates(inputs: Inputs, masks: Masks, seen: Array) -> Gates:
    """What the forward pass did not keep, each `[T, B, H]`."""
    params = inputs.params
    projected = _multiply(inputs.xs, params.w_x, params.b_x)
    products = _multiply(seen, params.w_h[:2])
    reset, update = (jax.nn.sigmoid(projected[:, :, g] + products[:, :, g]) for g in (0, 1))
    if masks.exists is not None:
        update = jnp.where(masks.exists[..., None], update, 1)
    if masks.keeps is not None:
        update = jnp.where(masks.keeps, 1, update)

    def product(states: Array) -> Array:
        return _multiply(states, params.w_h[2], params.b_hn)

    if params.reset_after:
        after = product(seen)
        return Gates(reset, update, jnp.tanh(projected[:, :, 2] + reset * after), after)
    return Gates(reset, update, jnp.tanh(projected[:, :, 2] + product(reset * seen)), None)


def _of_weights(
    inputs: Inputs, seen: Array, reset: Array, d_x: Array, d_products: Array
) -> tuple[GRUParams, Array]:
    reset_after = inputs.params.reset_after

    def of_weights(xs: Array, d: Array) -> Array:  # [G, I, H] of [T, B, I] and [T, B, G, H]
        product = _matmul("ri,rc->ic", _rows(xs), _rows(d))
        return product.reshape(-1, *d.shape[2:]).swapaxes(0, 1)

    if reset_after:
        d_w_h = of_weights(seen, d_products)
    else:
        of_candidate = of_weights(reset * seen, d_products[:, :, 2:])
        d_w_h = jnp.concatenate([of_weights(seen, d_products[:, :, :2]), of_candidate])
    w_x = inputs.params.w_x.swapaxes(0, 1)
    d_xs = _matmul("rc,ic->ri", _rows(d_x), w_x.reshape(w_x.shape[0], -1))
    d_params = GRUParams(
        w_x=of_weights(inputs.xs, d_x),
        w_h=d_w_h,
        b_x=d_x.sum((0, 1), dtype=jnp.float32),
        b_hn=d_products[:, :, 2].sum((0, 1), dtype=jnp.float32),
        reset_after=reset_after,
    )
    return d_params, d_xs.reshape(inputs.xs.shape)


# --- stacks of models -----------------------------------------------------------------------------


def _project(stack: Stack, own: Any, inputs: Inputs) -> tuple[Array, bool, bool]:
    """The inputs' part of the gates, float32 `[T, B, 3, H]`, whether it has an axis of models, and
    whether that is the third, not the first.

    Models that share their inputs are one product, whose result has the models inside.
    """
    arguments = inputs.xs, inputs.params.w_x, inputs.params.b_x
    own = own.xs, own.params.w_x, own.params.b_x
    is_inner = not own[0] and own[1] and own[2]
    if is_inner or not any(own):
        return _multiply(*arguments), is_inner, is_inner
    return stack.each(_multiply, own, *arguments)[0], True, False


def _states_before(stack: Stack, own: Any, kept: Kept, time: int) -> tuple[Array, bool]:
    """`states_before`, and whether it has an axis of models."""

    def select(kept: Any) -> tuple[Any, ...]:
        return kept.hs, kept.inputs.h0, kept.inputs.reset_state, kept.masks.starts

    return stack.directed(partial(states_before, time=time), select(own), *select(kept))
