"""The kernels under a mesh of devices: each device runs its own rows.

XLA treats a kernel as a black box and would run all rows on every device. So under a mesh that XLA
itself partitions for (`jax.set_mesh` with automatic axes), the rows of the batch are split by hand
over all devices. The gradients of the parameters, which all devices share, are summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax import Array
from jax.extend.core import Primitive
from jax.sharding import AxisType, PartitionSpec

from grujax.implementations.primitive.primitives import forward_p
from grujax.implementations.primitive.vmap import row_axes


def bind_sharded(primitive: Primitive, leaves: Sequence[Array], **static: Any) -> list[Array]:
    """`primitive.bind`, with the rows split over the devices of the mesh, if there are several."""
    operands, results = _row_axes(primitive, **static)
    mesh = jax.sharding.get_abstract_mesh()
    rows = {x.shape[axis] for x, axis in zip(leaves, operands, strict=True) if axis is not None}
    is_automatic = not mesh.empty and all(kind == AxisType.Auto for kind in mesh.axis_types)
    if not is_automatic or any(count % mesh.size for count in rows):
        return primitive.bind(*leaves, **static)
    devices = tuple(mesh.axis_names)

    def run_own_rows(*leaves: Array) -> list[Array]:
        found = primitive.bind(*leaves, **static)
        return [
            jax.lax.psum(result, devices) if axis is None else result
            for result, axis in zip(found, results, strict=True)
        ]

    def spec(axis: int | None) -> PartitionSpec:
        return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, devices)

    return jax.shard_map(
        run_own_rows,
        in_specs=tuple(map(spec, operands)),
        out_specs=list(map(spec, results)),
        check_vma=False,  # the primitives do not say over which axes their results vary
    )(*leaves)


def _row_axes(
    primitive: Primitive,
    *,
    structure: Any,
    is_batched: tuple[bool, ...],
    keep_gates: bool,
    **_: Any,
) -> tuple[list[int | None], list[int | None]]:
    """The axis of rows of each operand and each result; None: it has none."""
    operands: list[int | None]
    results: list[int | None]
    if primitive is forward_p:
        (args,) = structure.children()
        operands = row_axes(args)
        gates = 4 if jax.tree.unflatten(args, operands).params.reset_after else 3
        results = [0, 1, *[1] * (gates if keep_gates else 0)]
    else:
        residuals, *_cotangents = structure.children()
        args, *saved = residuals.children()
        saved_leaves = sum(tree.num_leaves for tree in saved)  # `hs` and the gates
        operands = [*row_axes(args), *[1] * saved_leaves, 0, 1]
        primals = jax.tree.unflatten(args, range(args.num_leaves)).primals
        results = [operands[leaf] for leaf in jax.tree.leaves(primals)]

    def after_models(axis: int | None, has_models: bool) -> int | None:
        return None if axis is None else axis + has_models

    return (
        [after_models(*operand) for operand in zip(operands, is_batched, strict=True)],
        [after_models(axis, True) for axis in results],
    )
