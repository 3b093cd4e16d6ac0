"""Which kernel runs a pass, decided where the program is lowered for a platform.

The kernel of the platform runs if it is among the primitive's `options`, can run here, and is
faster or was named; else the scan runs, unless the caller named a kernel. Exported programs always
use the scan, for portability.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import mlir

from grujax.implementations import cuda, native, scan, tpu
from grujax.implementations.primitive.model_batch import ModelBatch
from grujax.implementations.primitive.primitives import args_of, backward_p, forward_p


def _lower_native(primitive: Primitive, context: Any, *operands: Any, **static: Any) -> Any:
    """For a CPU."""
    args = args_of(primitive, static["structure"], context.avals_in)
    batch, (steps, rows), units = static["batch"], args.xs.shape[-3:-1], args.params.hidden_size
    is_training = primitive is backward_p or static["keep_gates"]
    size = batch.number, steps, rows, units
    is_best = static["options"].is_named or native.is_faster(*size, is_training)
    if not (_may_run("native", context, static) and is_best and native.is_installed()):
        return _lower_scan(primitive, context, *operands, **static)
    slots = _slots(primitive, jax.tree.unflatten(static["structure"], static["is_batched"]))
    return jax.ffi.ffi_lowering(primitive.name)(
        context,
        *operands,
        models=np.int64(batch.number),
        present=np.int64(sum(1 << i for i, slot in enumerate(slots) if slot is not None)),
        stacked=np.int64(sum(1 << i for i, slot in enumerate(slots) if slot)),
        reverse=np.int64(batch.reverse_bits),
        reset_after=args.params.reset_after,
    )


def _slots(primitive: Primitive, arguments: Any) -> list[Any]:
    """The leaves in the order of the native kernel's operands; None where an operand is absent."""
    if primitive is forward_p:
        (args,) = arguments
        return [*jax.tree.leaves(args.primals), *args.masks]
    (args, hs, gates), d_last, d_hs = arguments
    gates = (None,) * 4 if gates is None else gates
    return [*jax.tree.leaves(args.primals), *args.masks, hs, *gates, d_last, d_hs]


def _lower_cuda(primitive: Primitive, context: Any, *operands: Any, **static: Any) -> Any:
    """For an NVIDIA GPU."""
    if not _may_run("cuda", context, static) or not cuda.passes_self_test():
        return _lower_scan(primitive, context, *operands, **static)
    h0 = args_of(primitive, static["structure"], context.avals_in).h0
    device = cuda.target()
    place = cuda.why_too_large(device, h0.dtype, h0.shape[-1])
    if place:
        return _lower_scan(primitive, context, *operands, place=place, **static)

    def run(*leaves: Array) -> list[Array]:
        is_batched = jax.tree.unflatten(static["structure"], static["is_batched"])
        arguments = jax.tree.unflatten(static["structure"], leaves)
        options = {"batch_major": static["options"].batch_major}
        run_pass: Any = cuda.backward
        if primitive is forward_p:
            run_pass = partial(cuda.forward, keep_gates=static["keep_gates"])
        results = run_pass(device, static["batch"], is_batched, *arguments, **options)
        return jax.tree.leaves(results)

    return mlir.lower_fun(run, multiple_results=True)(context, *operands)


def _lower_tpu(primitive: Primitive, context: Any, *operands: Any, **static: Any) -> Any:
    """For a TPU. XLA does not partition such a kernel, so on several devices the scan runs."""
    has_one_device = getattr(context.module_context.axis_context, "num_devices", 1) == 1
    if not _may_run("tpu", context, static) or not has_one_device:
        place = "" if has_one_device else " on several devices"
        return _lower_scan(primitive, context, *operands, place=place, **static)
    return _lower_passes(tpu, primitive, context, *operands, **static)


def _lower_scan(
    primitive: Primitive, context: Any, *operands: Any, place: str = "", **static: Any
) -> Any:
    """For every platform; raises ValueError if the caller named a kernel, which cannot run here."""
    if static["options"].is_named and not _is_for_export(context):
        (name,) = static["options"].names
        platform = " or ".join(context.module_context.platforms)
        raise ValueError(
            f'`implementation="{name}"` cannot run in a program for the platform '
            f'{platform}{place}; "scan" and "plain" can, and None picks the best for the platform.'
        )
    return _lower_passes(scan, primitive, context, *operands, **static)


def _lower_passes(
    room: Any, primitive: Primitive, context: Any, *operands: Any, **static: Any
) -> Any:
    """By the `forward_pass` and `backward_pass` of an implementation, which run one model."""

    def run_model(reverse: bool, *leaves: Array) -> list[Array]:
        arguments = jax.tree.unflatten(static["structure"], leaves)
        if primitive is forward_p:
            (args,) = arguments
            results: Any = room.forward_pass(args.replace(reverse=reverse), static["keep_gates"])
        else:
            residuals, d_last, d_hs = arguments
            args = residuals.args.replace(reverse=reverse)
            results = room.backward_pass(residuals._replace(args=args), d_last, d_hs)
        return jax.tree.leaves(results)

    def run(*leaves: Array) -> list[Array]:
        batch: ModelBatch = static["batch"]
        return batch.add_axis(*batch.vmap_directions(run_model, static["is_batched"], *leaves))

    return mlir.lower_fun(run, multiple_results=True)(context, *operands)


def _may_run(kernel: str, context: Any, static: Any) -> bool:
    return kernel in static["options"].names and not _is_for_export(context)


def _is_for_export(context: Any) -> bool:
    return context.module_context.lowering_parameters.for_export


for _primitive in (forward_p, backward_p):
    mlir.register_lowering(_primitive, partial(_lower_scan, _primitive))
    mlir.register_lowering(_primitive, partial(_lower_native, _primitive), platform="cpu")
    mlir.register_lowering(_primitive, partial(_lower_cuda, _primitive), platform="cuda")
    mlir.register_lowering(_primitive, partial(_lower_tpu, _primitive), platform="tpu")
