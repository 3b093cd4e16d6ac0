"""The kernels under a mesh of devices: each runs the rows that lie on it.

To XLA a kernel is a black box, which it would give all rows on every device. So where a mesh is in
force (`jax.set_mesh`) that XLA itself would spread a program over, the rows of the batch are spread
over all its devices by hand; what they share, the parameters, has the sum of their gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax import Array
from jax.extend.core import Primitive
from jax.sharding import AxisType, PartitionSpec

from grujax.implementations.primitive.calls import forward_p, row_axes


def bind(primitive: Primitive, leaves: Sequence[Array], **static: Any) -> list[Array]:
    """As `primitive.bind`, spread over the devices if there are several."""
    operands, results = _axes(primitive, **static)
    mesh = jax.sharding.get_abstract_mesh()
    rows = {x.shape[axis] for x, axis in zip(leaves, operands, strict=True) if axis is not None}
    is_spread = not mesh.empty and all(kind == AxisType.Auto for kind in mesh.axis_types)
    if not is_spread or any(count % mesh.size for count in rows):
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


def _axes(
    primitive: Primitive,
    *,
    structure: Any,
    models: int | None,
    stacked: tuple[bool, ...],
    keep_gates: bool,
    **_: Any,
) -> tuple[list[int | None], list[int | None]]:
    """Where operands and results have their rows; None: they have none."""
    arguments = jax.tree.unflatten(structure, range(structure.num_leaves))
    if primitive is forward_p:
        own = row_axes(structure)
        gates = 4 if arguments[0].params.reset_after else 3
        found: list[int | None] = [0, 1, *[1] * (gates if keep_gates else 0)]
    else:
        kept = arguments[0]
        given: Any = jax.tree.structure((kept.inputs, kept.masks))
        states = structure.num_leaves - given.num_leaves - 2  # and the two cotangents
        own = [*row_axes(given), *[1] * states, 0, 1]
        found = own[: len(jax.tree.leaves(kept.inputs))]

    def behind(axis: int | None, models: bool) -> int | None:
        return None if axis is None else axis + models

    return (
        [behind(axis, has_models) for axis, has_models in zip(own, stacked, strict=True)],
        [behind(axis, models is not None) for axis in found],
    )
