"""The two passes by the CUDA kernel, for one model or a batch: what is lowered on a GPU.

The kernel (`src/`) runs the recurrence. What depends on no earlier state is done here by XLA, over
all steps at once: the projection of the inputs, the states before the steps, and the gradients of
inputs and weights. The matmuls are written as products of matrices with a row for each row of each
step: for these XLA neither transposes nor adds anything.

Units are padded with zeros, which stay zero, to the next size that the kernel is compiled for. Rows
of the batch are cut into tiles, one for each cluster of blocks, enough to fill the GPU.

If `batch_major`, the caller holds `[B, T, ...]` and transposes around this call. Arrays then are
transposed first and last here, and the kernel and all matmuls between take `[B, T, ...]`: XLA
cancels the pairs of transposes. Shapes below are written `[T, B, ...]` in either case.

`is_batched` is a tree of bools with the structure of the arguments: which leaves have a leading
axis of models.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations.cuda.devices import Device
from grujax.implementations.cuda.launch import Launch, Operand
from grujax.implementations.cuda.layouts import choose_layout
from grujax.implementations.cuda.products import (
    input_and_weight_gradients,
    project,
    recompute_gates,
)
from grujax.implementations.padding import pad_axis, pad_units
from grujax.implementations.primitive.model_batch import ModelBatch
from grujax.implementations.types import (
    GateResiduals,
    Outputs,
    Primals,
    RecurrenceArgs,
    Residuals,
    StepMasks,
    states_before,
)


def forward(
    device: Device,
    batch: ModelBatch,
    is_batched: Any,  # (args,)
    args: RecurrenceArgs,
    *,
    keep_gates: bool,
    batch_major: bool = False,
) -> Outputs:
    """As `scan.forward_pass`, for each model of the batch, on a device."""
    (of_args,) = is_batched
    units, dtype = args.h0.shape[-1], args.h0.dtype
    reset_after = args.params.reset_after
    launch = _make_launch(device, batch, args, batch_major)._replace(keep_gates=keep_gates)
    if batch_major:
        args = args.map_time(swap_time_and_batch, of_args)
    args = pad_units(args, launch.layout.units)
    projected, has_models, models_inside = _project(batch, of_args, args)
    operands = [
        Operand(projected, has_models),
        Operand(args.h0, of_args.h0),
        Operand(args.reset_state, of_args.reset_state),
        Operand(args.params.w_h.astype(jnp.float32), of_args.params.w_h),
        Operand(args.params.b_hn.astype(jnp.float32), of_args.params.b_hn),
    ]
    state = jax.ShapeDtypeStruct((batch.number, launch.batch, launch.layout.units), dtype)
    in_time = (batch.number, *args.xs.shape[-3:-1], launch.layout.units)
    gate = jax.ShapeDtypeStruct(in_time, jnp.float32)
    gates = [gate] * (3 + reset_after if keep_gates else 0)
    results = [state, jax.ShapeDtypeStruct(in_time, dtype), *gates]
    launch = launch._replace(models_inside=models_inside)
    found = launch(operands, args.masks, of_args.masks, results)
    h_last, hs, *kept = (array[..., :units] for array in found)
    if batch_major:
        hs, *kept = (swap_time_and_batch(array, True) for array in (hs, *kept))
    product = (None,) * (not reset_after)
    return h_last, hs, GateResiduals(*kept, *product) if keep_gates else None


def backward(
    device: Device,
    batch: ModelBatch,
    is_batched: Any,  # (residuals, d_last, d_hs)
    residuals: Residuals,
    d_last: Array,  # [B, H]
    d_hs: Array,  # [T, B, H]
    *,
    batch_major: bool = False,
) -> Primals:
    """As `scan.backward_pass`, for each model of the batch, on a device."""
    of_residuals, of_d_last, of_d_hs = is_batched
    of_args, of_gates = of_residuals.args, of_residuals.gates
    units = residuals.args.h0.shape[-1]
    launch = _make_launch(device, batch, residuals.args, batch_major)._replace(is_backward=True)
    if batch_major:
        residuals = _swap_residuals(residuals, of_residuals)
        d_hs = swap_time_and_batch(d_hs, of_d_hs)
    args = residuals.args
    gates: Any = residuals.gates
    before, of_before = _states_before(batch, of_residuals, residuals, int(batch_major))
    dropout_mask = args.masks.recurrent_dropout_mask
    seen, of_seen = batch.vmap(
        partial(_apply_recurrent_dropout, int(batch_major)),
        (of_args.masks.recurrent_dropout_mask, of_before),
        dropout_mask,
        before,
    )
    if gates is None:
        gates, has_models = batch.vmap(recompute_gates, (of_args, of_seen), args, seen)
        of_gates = jax.tree.map(lambda _: has_models, gates)
    d_gates, d_h0, d_reset = _run_backward(
        launch,
        args,
        of_args,
        [*jax.tree.leaves(gates), before, d_hs, d_last],
        [*jax.tree.leaves(of_gates), of_before, of_d_hs, of_d_last],
        units,
    )
    xs, of_xs = args.xs, of_args.xs
    if batch.number > 1 and not of_xs and xs.shape[-1] <= 3 * units:
        # Else XLA makes one product of all models, for which it transposes the gates' gradients.
        xs, of_xs = jnp.broadcast_to(xs, (batch.number, *xs.shape)), True
    (d_params, d_xs), _ = batch.vmap(
        input_and_weight_gradients,
        (of_args.params, of_xs, of_seen, of_gates.reset, True, True),
        args.params,
        xs,
        seen,
        gates.reset,
        d_gates[0],  # of the projected inputs
        d_gates[-1],  # of the products with the state
    )
    if batch_major:
        d_xs = swap_time_and_batch(d_xs, True)
    gradient = Primals(d_params, d_xs, d_h0, d_reset)
    return jax.tree.map(lambda d, of: d.astype(of.dtype), gradient, args.primals)


def _make_launch(
    device: Device, batch: ModelBatch, args: RecurrenceArgs, batch_major: bool
) -> Launch:
    steps, rows, _ = args.xs.shape[-3:]
    dtype = args.h0.dtype
    layout = choose_layout(device, dtype, args.h0.shape[-1], rows, batch.number)
    reset_after = args.params.reset_after
    return Launch(
        device.architecture, layout, batch, steps, rows, dtype.name, reset_after, batch_major
    )


def _run_backward(
    launch: Launch,
    args: RecurrenceArgs,
    of_args: Any,
    in_time: list[Array],
    of_in_time: list[bool],
    units: int,
) -> tuple[list[Array], Array, Array]:
    """The gradients of the gates, `[T, B, 3, H]` each, and of `h0` and `reset_state`."""
    batch, padded = launch.models, launch.layout.units
    args = pad_units(args, padded)
    operands = [
        *(
            Operand(pad_axis(array, -1, padded), has_models)
            for array, has_models in zip(in_time, of_in_time, strict=True)
        ),
        Operand(args.params.w_h.astype(jnp.float32), of_args.params.w_h),
    ]
    shape = (batch.number, *args.xs.shape[-3:-1], 3, padded)
    gradients = jax.ShapeDtypeStruct(shape, args.h0.dtype)
    state = jax.ShapeDtypeStruct((batch.number, launch.batch, padded), jnp.float32)
    results = [*[gradients] * (1 + launch.reset_after), state, state]
    found = launch(operands, args.masks, of_args.masks, results)
    *d_gates, d_h0, d_reset = (array[..., :units] for array in found)
    return d_gates, d_h0, d_reset


def swap_time_and_batch(array: Array, has_models: bool) -> Array:
    """`[T, B, ...]` as `[B, T, ...]` or back, behind an axis of models if there is one."""
    time = int(has_models)
    return jnp.swapaxes(array, time, time + 1)


def _swap_residuals(residuals: Residuals, is_batched: Any) -> Residuals:
    return Residuals(
        residuals.args.map_time(swap_time_and_batch, is_batched.args),
        swap_time_and_batch(residuals.hs, is_batched.hs),
        jax.tree.map(swap_time_and_batch, residuals.gates, is_batched.gates),
    )


def _project(batch: ModelBatch, is_batched: Any, args: RecurrenceArgs) -> tuple[Array, bool, bool]:
    """The inputs' part of the gates, float32 `[T, B, 3, H]`, whether it has an axis of models, and
    whether that is the third axis instead of the first.

    Models that share their inputs are one product, whose result has the models inside.
    """
    arguments = args.xs, args.params.w_x, args.params.b_x
    of_arguments: Any = is_batched.xs, is_batched.params.w_x, is_batched.params.b_x
    of_xs, of_weights, of_biases = of_arguments
    models_inside = not of_xs and of_weights and of_biases
    if models_inside or not any(of_arguments):
        return project(*arguments), models_inside, models_inside
    return batch.vmap(project, of_arguments, *arguments)[0], True, False


def _states_before(
    batch: ModelBatch, is_batched: Any, residuals: Residuals, time: int
) -> tuple[Array, bool]:
    """The states before the steps, `[T, B, H]`, and whether they have an axis of models."""

    def arrays(residuals: Any) -> tuple[Any, ...]:
        args = residuals.args
        return residuals.hs, args.h0, args.reset_state, args.masks.restart

    def run(
        reverse: bool, hs: Array, h0: Array, reset_state: Array, restart: Array | None
    ) -> Array:
        return states_before(hs, h0, reset_state, restart, reverse, time)

    return batch.vmap_directions(run, arrays(is_batched), *arrays(residuals))


def _apply_recurrent_dropout(time: int, mask: Array | None, before: Array) -> Array:
    """The states before all steps as the gates see them; `time` is the axis of T."""
    of_all_steps = None if mask is None else jnp.expand_dims(mask, time)
    return StepMasks(recurrent_dropout_mask=of_all_steps).apply_recurrent_dropout(before)
