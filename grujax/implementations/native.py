"""The recurrence in C++ on CPUs (`grujax.kernels`), and the scan wherever that cannot run.

Each pass is a primitive of JAX, and how it runs falls in its lowering: the kernel on a CPU where it
is loaded; the scan on other platforms, and in what `jax.export` writes, for a file shall run where
there is no kernel. The derivation of the gradient stands in `grujax.implementations.scan`.

Threads take rows of the batch, each over all time, so that no thread ever waits for another inside
a step. Under `vmap` over parameters each takes whole models; over data alone, the mapped axis is
one more axis of the batch.

Memory. Between the two passes as much as the scan keeps, by the same rule. While a pass runs, each
thread has about 128·(13·H + 3·I) floats for a chunk of time and the sums of its weights' gradients,
and there are two packed copies of the weights; XLA's memory analysis sees none of these.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from grujax import kernels
from grujax.implementations import scan
from grujax.implementations.gates import Gates
from grujax.implementations.masks import Masks
from grujax.implementations.passes import Inputs, Kept, Outputs, Passes, run_passes
from grujax.params import GRUParams

DTYPES = ("float32", "bfloat16")


def run(
    params: GRUParams,
    xs: Array,  # [T, *B, I]
    h0: Array,  # [*B, H]
    reset_state: Array,  # [*B, H]
    masks: Masks,
    reverse: bool,
) -> tuple[Array, Array]:
    if xs.dtype.name not in DTYPES:
        raise ValueError(
            f'`implementation="native"` computes in {" or ".join(DTYPES)}, got {xs.dtype.name}: '
            '"scan" and "plain" take every dtype.'
        )
    return run_passes(_PASSES, params, xs, h0, reset_state, masks, reverse)


def run_where_it_can(
    params: GRUParams, xs: Array, h0: Array, reset_state: Array, masks: Masks, reverse: bool
) -> tuple[Array, Array]:
    """The same, by the scan unless the kernel was built before and has the dtype."""
    chosen = run if xs.dtype.name in DTYPES and kernels.is_loaded() else scan.run
    return chosen(params, xs, h0, reset_state, masks, reverse)


def build() -> None:
    """Makes sure that the kernel can run; raises ValueError if it cannot."""
    try:
        kernels.build_and_load()
    except kernels.KernelError as error:
        raise ValueError(
            f'`implementation="native"` cannot run; "scan" and "plain" can. {error}'
        ) from error


# --- the passes, as primitives ------------------------------------------------------------------
#
# Operands are the leaves of a pass's arguments. `stacked` says which of them have a leading axis of
# `models`; if none has, `models` is None and the results have no such axis either.


def _forward(reverse: bool, keep_gates: bool, inputs: Inputs, masks: Masks) -> Outputs:
    leaves, structure = jax.tree.flatten((inputs, masks))
    h_last, hs, *gates = forward_p.bind(
        *leaves,
        structure=structure,
        models=None,
        stacked=(False,) * len(leaves),
        reverse=reverse,
        keep_gates=keep_gates,
    )
    product = (None,) * (not inputs.params.reset_after)
    return h_last, hs, Gates(*gates, *product) if keep_gates else None


def _backward(reverse: bool, kept: Kept, d_last: Array, d_hs: Array) -> Inputs:
    leaves, structure = jax.tree.flatten((kept, d_last, d_hs))
    gradient = backward_p.bind(
        *leaves,
        structure=structure,
        models=None,
        stacked=(False,) * len(leaves),
        reverse=reverse,
        keep_gates=False,
    )
    return jax.tree.unflatten(jax.tree.structure(kept.inputs), gradient)


_PASSES = Passes(_forward, _backward, scan.pays_to_keep_gates)

forward_p = Primitive("grujax_forward")
backward_p = Primitive("grujax_backward")


def _by_scan(primitive: Primitive, **static: Any) -> Any:
    """The function of the leaves that the primitive stands for."""
    structure, reverse = static["structure"], static["reverse"]

    def one_model(*leaves: Array) -> list[Array]:
        arguments = jax.tree.unflatten(structure, leaves)
        if primitive is forward_p:
            results: Any = scan.forward_pass(reverse, static["keep_gates"], *arguments)
        else:
            results = scan.backward_pass(reverse, *arguments)
        return jax.tree.leaves(results)

    if static["models"] is None:
        return one_model
    return jax.vmap(one_model, in_axes=tuple(0 if own else None for own in static["stacked"]))


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


def _lower_kernel(primitive: Primitive, context: Any, *operands: Any, **static: Any) -> Any:
    """On a CPU."""
    for_export = context.module_context.lowering_parameters.for_export
    if for_export or not kernels.is_loaded():
        return _lower_scan(primitive, context, *operands, **static)
    slots = _slots(primitive, jax.tree.unflatten(static["structure"], static["stacked"]))
    models = static["models"]
    return jax.ffi.ffi_lowering(primitive.name)(
        context,
        *operands,
        models=np.int64(1 if models is None else models),
        present=np.int64(sum(1 << i for i, slot in enumerate(slots) if slot is not None)),
        stacked=np.int64(sum(1 << i for i, slot in enumerate(slots) if slot)),
        reverse=static["reverse"],
        reset_after=_params_of(primitive, static["structure"]).reset_after,
    )


def _lower_scan(primitive: Primitive, context: Any, *operands: Any, **static: Any) -> Any:
    by_scan = _by_scan(primitive, **static)
    return mlir.lower_fun(by_scan, multiple_results=True)(context, *operands)


def _slots(primitive: Primitive, arguments: Any) -> list[Any]:
    """The operands in the order in which the kernel takes them, None where there is none."""
    if primitive is forward_p:
        inputs, masks = arguments
        return [*jax.tree.leaves(inputs), *masks]
    kept, d_last, d_hs = arguments
    gates = (None,) * 4 if kept.gates is None else kept.gates
    return [*jax.tree.leaves(kept.inputs), *kept.masks, kept.hs, *gates, d_last, d_hs]


def _params_of(primitive: Primitive, structure: Any) -> GRUParams:
    arguments = jax.tree.unflatten(structure, range(structure.num_leaves))
    inputs = arguments[0] if primitive is forward_p else arguments[0].inputs
    return inputs.params


# --- vmap ---------------------------------------------------------------------------------------


def _batch(primitive: Primitive, leaves: Any, axes: Any, **static: Any) -> Any:
    size = next(
        leaf.shape[axis] for leaf, axis in zip(leaves, axes, strict=True) if axis is not None
    )
    if primitive is forward_p and static["models"] is None:
        row_axes = _row_axes(static["structure"])
        if all(a is None or row is not None for a, row in zip(axes, row_axes, strict=True)):
            return _batch_rows(size, leaves, axes, row_axes, **static)
    return _batch_models(primitive, size, leaves, axes, **static)


def _row_axes(structure: Any) -> list[int | None]:
    """Where an operand of the forward pass has its batch axis."""
    leaves = list(range(structure.num_leaves))
    inputs, masks = jax.tree.unflatten(structure, leaves)
    in_time = (inputs.xs, masks.exists, masks.starts, masks.keeps)
    of_rows = (inputs.h0, inputs.reset_state, masks.scale)
    return [1 if i in in_time else 0 if i in of_rows else None for i in leaves]


def _batch_rows(size: int, leaves: Any, axes: Any, row_axes: Any, **static: Any) -> Any:
    """All models share their parameters: one model, and more rows."""

    def merge(leaf: Array, axis: int | None, row_axis: int | None) -> Array:
        if row_axis is None:
            return leaf
        if axis is None:
            leaf = jnp.broadcast_to(leaf, (size, *leaf.shape))
        leaf = jnp.moveaxis(leaf, axis or 0, row_axis)
        shape = leaf.shape
        return leaf.reshape(*shape[:row_axis], -1, *shape[row_axis + 2 :])

    merged = [merge(*leaf) for leaf in zip(leaves, axes, row_axes, strict=True)]
    h_last, *in_time = forward_p.bind(*merged, **static)
    h_last = h_last.reshape(size, -1, h_last.shape[-1])
    in_time = [a.reshape(a.shape[0], size, -1, a.shape[-1]) for a in in_time]
    return [h_last, *in_time], [0, *[1] * len(in_time)]


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
    mlir.register_lowering(primitive, partial(_lower_kernel, primitive), platform="cpu")
    batching.primitive_batchers[primitive] = partial(_batch, primitive)


_register(forward_p)
_register(backward_p)
