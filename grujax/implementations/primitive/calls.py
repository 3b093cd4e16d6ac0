"""The kernels' two passes as primitives of JAX: shapes, lowering, vmap.

How a pass runs falls in its lowering, for the platform at hand: its kernel, where that is among the
primitive's `kernels` and can run; else the scan. So it is in what `jax.export` writes, for a file
shall run where there is no kernel.

Operands are the leaves of a pass's arguments, `structure` their tree. `stacked` says which of them
have a leading axis of `models`; if none has, `models` is None and the results have no such axis
either. `reverse` says of even and of odd models whether they walk from T − 1 to 0, and `kernels`
what may run beside the scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from grujax.implementations import cuda, native, scan, tpu
from grujax.implementations.cuda import calls as cuda_calls
from grujax.implementations.passes import Inputs
from grujax.implementations.primitive.model_batch import Stack

forward_p = Primitive("grujax_forward")
backward_p = Primitive("grujax_backward")


class Kernels(NamedTuple):
    """What may run beside the scan."""

    names: tuple[str, ...]  # one for a CPU, one for each accelerator
    batch_major: bool  # how the arrays are seen around them, see `grujax.implementations.layout`


def _by_scan(primitive: Primitive, **static: Any) -> Any:
    """The function of the leaves that the primitive stands for."""
    return _by_passes(scan, primitive, **static)


def _by_passes(passes: Any, primitive: Primitive, **static: Any) -> Any:
    """The same by a module's `forward_pass` and `backward_pass`, of one model."""
    stack = Stack(static["models"], *static["reverse"])

    def one_model(reverse: bool, *leaves: Array) -> list[Array]:
        arguments = jax.tree.unflatten(static["structure"], leaves)
        if primitive is forward_p:
            results: Any = passes.forward_pass(reverse, static["keep_gates"], *arguments)
        else:
            results = passes.backward_pass(reverse, *arguments)
        return jax.tree.leaves(results)

    def run(*leaves: Array) -> list[Array]:
        results, _ = stack.directed(one_model, static["stacked"], *leaves)
        return results

    return run


def _result_shapes(primitive: Primitive, *avals: Any, **static: Any) -> list[Any]:
    own = [
        jax.core.ShapedArray(aval.shape[1:] if has_axis else aval.shape, aval.dtype)
        for aval, has_axis in zip(avals, static["stacked"], strict=True)
    ]
    arguments = jax.tree.unflatten(static["structure"], own)
    if primitive is forward_p:
        inputs, _ = arguments
        hs = jax.core.ShapedArray((*inputs.xs.shape[:2], inputs.h0.shape[-1]), inputs.xs.dtype)
        gate = jax.core.ShapedArray(hs.shape, jnp.dtype("float32"))
        number = 4 if inputs.params.reset_after else 3
        results = [inputs.h0, hs, *[gate] * (number if static["keep_gates"] else 0)]
    else:
        results = jax.tree.leaves(arguments[0].inputs)
    models = () if static["models"] is None else (static["models"],)
    return [jax.core.ShapedArray((*models, *aval.shape), aval.dtype) for aval in results]


def _lower_native(primitive: Primitive, context: Any, *operands: Any, **static: Any) -> Any:
    """On a CPU."""
    inputs = _inputs_of(primitive, static["structure"], context.avals_in)
    models, size = static["models"] or 1, inputs.h0.shape[-2:]
    may_run = _may_run("native", context, static) and native.may_run()
    if not (may_run and native.pays(models, *size)):
        return _lower_scan(primitive, context, *operands, **static)
    slots = _slots(primitive, jax.tree.unflatten(static["structure"], static["stacked"]))
    return jax.ffi.ffi_lowering(primitive.name)(
        context,
        *operands,
        models=np.int64(models),
        present=np.int64(sum(1 << i for i, slot in enumerate(slots) if slot is not None)),
        stacked=np.int64(sum(1 << i for i, slot in enumerate(slots) if slot)),
        reverse=np.int64(sum(1 << i for i, backward in enumerate(static["reverse"]) if backward)),
        reset_after=inputs.params.reset_after,
    )


def _lower_cuda(primitive: Primitive, context: Any, *operands: Any, **static: Any) -> Any:
    """On an NVIDIA GPU."""
    if not _may_run("cuda", context, static) or not cuda.can_run():
        return _lower_scan(primitive, context, *operands, **static)
    by_kernel = _by_cuda(primitive, **static)
    return mlir.lower_fun(by_kernel, multiple_results=True)(context, *operands)


def _by_cuda(primitive: Primitive, **static: Any) -> Any:
    stack = Stack(static["models"], *static["reverse"])
    own = jax.tree.unflatten(static["structure"], static["stacked"])
    order = {"batch_major": static["kernels"].batch_major}

    def run(*leaves: Array) -> list[Array]:
        arguments = jax.tree.unflatten(static["structure"], leaves)
        if primitive is forward_p:
            keep_gates = static["keep_gates"]
            results: Any = cuda_calls.forward(stack, own, keep_gates, *arguments, **order)
        else:
            results = cuda_calls.backward(stack, own, *arguments, **order)
        return jax.tree.leaves(results)

    return run


def _lower_tpu(primitive: Primitive, context: Any, *operands: Any, **static: Any) -> Any:
    """On a TPU. XLA does not spread such a kernel over devices, so there the scan runs."""
    is_spread = getattr(context.module_context.axis_context, "num_devices", 1) != 1
    if not _may_run("tpu", context, static) or is_spread:
        return _lower_scan(primitive, context, *operands, **static)
    by_kernel = _by_passes(tpu, primitive, **static)
    return mlir.lower_fun(by_kernel, multiple_results=True)(context, *operands)


def _may_run(kernel: str, context: Any, static: Any) -> bool:
    for_export = context.module_context.lowering_parameters.for_export
    return kernel in static["kernels"].names and not for_export


def _lower_scan(primitive: Primitive, context: Any, *operands: Any, **static: Any) -> Any:
    by_scan = _by_scan(primitive, **static)
    return mlir.lower_fun(by_scan, multiple_results=True)(context, *operands)


def _slots(primitive: Primitive, arguments: Any) -> list[Any]:
    """The operands in the order in which the native kernel takes them; None: there is none."""
    if primitive is forward_p:
        inputs, masks = arguments
        return [*jax.tree.leaves(inputs), *masks]
    kept, d_last, d_hs = arguments
    gates = (None,) * 4 if kept.gates is None else kept.gates
    return [*jax.tree.leaves(kept.inputs), *kept.masks, kept.hs, *gates, d_last, d_hs]


def _inputs_of(primitive: Primitive, structure: Any, leaves: Sequence[Any]) -> Inputs:
    arguments = jax.tree.unflatten(structure, leaves)
    return arguments[0] if primitive is forward_p else arguments[0].inputs


# --- vmap ---------------------------------------------------------------------------------------


def _batch(primitive: Primitive, leaves: Any, axes: Any, **static: Any) -> Any:
    size = next(
        leaf.shape[axis] for leaf, axis in zip(leaves, axes, strict=True) if axis is not None
    )
    if primitive is forward_p:
        own = row_axes(static["structure"])
        if all(a is None or row is not None for a, row in zip(axes, own, strict=True)):
            return _batch_rows(size, leaves, axes, own, **static)
    return _batch_models(primitive, size, leaves, axes, **static)


def row_axes(structure: Any) -> list[int | None]:
    """Where an operand of the forward pass has its batch axis."""
    leaves = list(range(structure.num_leaves))
    inputs, masks = jax.tree.unflatten(structure, leaves)
    in_time = (inputs.xs, masks.exists, masks.starts, masks.keeps)
    of_rows = (inputs.h0, inputs.reset_state, masks.scale)
    return [1 if i in in_time else 0 if i in of_rows else None for i in leaves]


def _batch_rows(size: int, leaves: Any, axes: Any, own: Any, **static: Any) -> Any:
    """What is mapped has no parameters of its own: as many models, and more rows."""

    def merge(leaf: Array, axis: int | None, row_axis: int | None, is_stacked: bool) -> Array:
        if row_axis is None:
            return leaf
        if axis is None:
            leaf = jnp.broadcast_to(leaf, (size, *leaf.shape))
        row_axis += is_stacked
        leaf = jnp.moveaxis(leaf, axis or 0, row_axis)
        shape = leaf.shape
        return leaf.reshape(*shape[:row_axis], -1, *shape[row_axis + 2 :])

    def split(result: Array, axis: int) -> Array:
        return result.reshape(*result.shape[:axis], size, -1, result.shape[-1])

    merged = [merge(*leaf) for leaf in zip(leaves, axes, own, static["stacked"], strict=True)]
    of_models = 0 if static["models"] is None else 1
    h_last, *in_time = forward_p.bind(*merged, **static)
    results = [split(h_last, of_models), *(split(array, of_models + 1) for array in in_time)]
    return results, [of_models, *[of_models + 1] * len(in_time)]


def _batch_models(primitive: Primitive, size: int, leaves: Any, axes: Any, **static: Any) -> Any:
    """Each has its own: one more axis of models, merged with the one that there is."""
    models, stacked = static["models"], static["stacked"]

    def merge(leaf: Array, axis: int | None, is_stacked: bool) -> Array:
        if axis is not None:
            leaf = jnp.moveaxis(leaf, axis, 0)
        if models is None or (axis is None and not is_stacked):
            return leaf
        if axis is None:
            leaf = jnp.broadcast_to(leaf, (size, *leaf.shape))
        elif not is_stacked:
            leaf = jnp.broadcast_to(leaf[:, None], (size, models, *leaf.shape[1:]))
        return leaf.reshape(size * models, *leaf.shape[2:])

    merged = [merge(*leaf) for leaf in zip(leaves, axes, stacked, strict=True)]
    static["stacked"] = tuple(
        axis is not None or own for axis, own in zip(axes, stacked, strict=True)
    )
    static["models"] = size * (models or 1)
    results = primitive.bind(*merged, **static)
    if models is not None:
        results = [result.reshape(size, models, *result.shape[1:]) for result in results]
    return results, [0] * len(results)


@cache
def _jitted(primitive: Primitive, static: Any) -> Any:
    return jax.jit(lambda *leaves: primitive.bind(*leaves, **dict(static)))


def _register(primitive: Primitive) -> None:
    primitive.multiple_results = True
    primitive.def_impl(
        lambda *leaves, **static: _jitted(primitive, tuple(sorted(static.items())))(*leaves)
    )
    primitive.def_abstract_eval(partial(_result_shapes, primitive))
    mlir.register_lowering(primitive, partial(_lower_scan, primitive))
    mlir.register_lowering(primitive, partial(_lower_native, primitive), platform="cpu")
    mlir.register_lowering(primitive, partial(_lower_cuda, primitive), platform="cuda")
    mlir.register_lowering(primitive, partial(_lower_tpu, primitive), platform="tpu")
    batching.primitive_batchers[primitive] = partial(_batch, primitive)


_register(forward_p)
_register(backward_p)
