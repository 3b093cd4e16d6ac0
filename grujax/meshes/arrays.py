"""Arrays on a mesh of devices: their types, and how each device runs its own rows.

On a mesh with explicit axes, which `jax.make_mesh` makes by default, the type of an array says over
which axes each of its own axes is split. Inside `jax.shard_map`, where the axes are manual, it says
over which of them the values vary. JAX wants these types to agree: a loop must return its carry in
the type in which it took it, and a gradient has the type of what it belongs to.

Of the arrays of a recurrence only the batch axes stay split. Time, features and weights are
gathered before they are used (`RowSharding.place`), so `hs` is split as the rows of `xs` are. Then
each device runs the recurrence on its own rows, as if it were alone (`run_own_rows`). JAX sums the
gradients of the weights: this is how it transposes `pcast`.

On automatic axes XLA splits what it wants, and all of this does nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from grujax.checks import is_traced
from grujax.jax_support.pytrees import flatten_distinct


class RowSharding(NamedTuple):
    """How the batch axes of an array are split over the explicit axes of a mesh."""

    mesh: Any  # empty without a mesh
    axes: tuple[Any, ...]  # for each batch axis the mesh axes that split it, or None

    def place(self, array: Array, first: int | None = None) -> Array:
        """`array` split over its batch axes alone; None: it has no batch axes.

        Args:
            array: any array, of which axis `first` is the first of its batch axes.
            first: an axis, as `RecurrenceArgs.map_batch` gives it.
        """
        spec: list[Any] = [None] * array.ndim
        if first is not None:
            spec[first : first + len(self.axes)] = self.axes
        return _reshard(array, self.mesh, spec)


def row_sharding(array: Array, first: int, number: int) -> RowSharding:
    """How the `number` batch axes of `array` are split, of which `first` is the first."""
    mesh, spec = _sharding(array)
    return RowSharding(mesh, tuple(spec[first : first + number]))


def gather(array: Array, axis: int | None = None) -> Array:
    """`array` with this axis on every device, or all of its axes if None."""
    mesh, spec = _sharding(array)
    kept = [None] * array.ndim if axis is None else list(spec)
    if axis is not None:
        kept[axis] = None
    return _reshard(array, mesh, kept)


def reshape(array: Array, shape: tuple[int, ...], axis: int, to: int) -> Array:
    """`array.reshape(shape)`, of which axis `to` is split as axis `axis` of `array` was.

    All other axes are on every device; so is that one if it cannot be split evenly.
    """
    mesh, spec = _sharding(array)
    if not any(spec):
        return array.reshape(shape)
    parts = math.prod(mesh.shape[name] for name in jax.tree.leaves(spec[axis]))
    split: list[Any] = [None] * len(shape)
    if shape[to] % parts == 0:
        split[to] = spec[axis]
    array = _reshard(array, mesh, [part if i == axis else None for i, part in enumerate(spec)])
    return jnp.reshape(array, shape, out_sharding=NamedSharding(mesh, PartitionSpec(*split)))


def stack(arrays: Sequence[Array]) -> Array:
    """`jnp.stack` of arrays that may be split differently, on every device."""
    return jnp.stack(list(map(gather, arrays)))


def vary_alike(tree: Any) -> Any:
    """A pytree of arrays that all vary over the manual axes over which any of them varies."""
    axes = _varying_in(tree)
    return jax.tree.map(lambda leaf: _vary_over(leaf, axes), tree) if axes else tree


def run_own_rows(
    run: Callable[[list[Any]], list[Any]],
    recurrences: list[Any],
    axes: tuple[int, ...] = (0, 1),
) -> list[Any]:
    """`run(recurrences)`; on a mesh with explicit axes each device runs the rows that it holds.

    An array that occurs twice still is one array.

    Args:
        run: returns a tuple for each recurrence, by default `(h_last [B, H], hs [T, B, H])`.
        recurrences: `RecurrenceArgs`, which have been placed by `RowSharding.place`.
        axes: of each array of the tuple the first of its batch axes.
    """
    arrays, positions, tree = flatten_distinct(recurrences)

    def run_here(*arrays: Array) -> list[Any]:
        alike = vary_alike(arrays)
        return run(jax.tree.unflatten(tree, [alike[position] for position in positions]))

    xs = recurrences[0].xs
    rows = row_sharding(xs, 1, xs.ndim - 2)
    split = _split_axes(rows)
    if not split and not rows.mesh.are_all_axes_explicit:
        return run_here(*arrays)
    specs = tuple(PartitionSpec(*[None] * first, *rows.axes) for first in axes)
    return jax.shard_map(
        run_here,
        mesh=rows.mesh,
        out_specs=[specs] * len(recurrences),
        axis_names=_manual_axes(rows, split),
    )(*arrays)


def map_rows(
    run: Callable[[Any, Any], Any],
    shared: Any,
    of_rows: Any,
    number: int,
    *,
    is_sum: bool = False,
) -> Any:
    """`run(shared, of_rows)`; on a mesh with explicit axes each device takes the rows it holds.

    Args:
        run: returns a pytree of arrays that begin with the batch axes; with `is_sum`, of sums over
            all rows. All of its arguments vary over the same manual axes.
        shared: a pytree of arrays without batch axes.
        of_rows: a pytree of arrays that begin with the batch axes.
        number: of batch axes.
        is_sum: see `run`.
    """
    shardings = [row_sharding(leaf, 0, number) for leaf in jax.tree.leaves(of_rows)]
    rows = next((rows for rows in shardings if _split_axes(rows)), shardings[0])
    split = _split_axes(rows)

    def run_here(shared: Any, of_rows: Any) -> Any:
        results = run(*vary_alike((shared, of_rows)))
        return lax.psum(results, tuple(sorted(split))) if is_sum and split else results

    if not split:
        return run_here(shared, of_rows)
    shared = jax.tree.map(rows.place, shared)
    of_rows = jax.tree.map(lambda leaf: rows.place(leaf, 0), of_rows)
    return jax.shard_map(
        run_here,
        mesh=rows.mesh,
        out_specs=PartitionSpec() if is_sum else PartitionSpec(*rows.axes),
        axis_names=_manual_axes(rows, split),
    )(shared, of_rows)


def key_of_device(key: Array, of_rows: Any) -> Array:
    """A key of its own for each device whose rows are others, so that all rows draw independently.

    Args:
        key: a JAX random key.
        of_rows: a pytree of arrays. Over the manual axes over which any of them varies, the number
            of the device is folded in.
    """
    for axis in sorted(_varying_in(of_rows) - _varying(key)):
        key = jax.random.fold_in(key, lax.axis_index(axis))
    return key


def as_gradient(gradient: Array, of: Array) -> Array:
    """A gradient in the type of what it belongs to, as `jax.grad` gives it.

    It is summed over the manual axes over which it varies, and `of` does not.
    """
    axes = tuple(sorted(_varying(gradient) - _varying(of)))
    return _like(lax.psum(gradient, axes) if axes else gradient, of)


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any, *, reverse: bool = False
) -> tuple[Any, Any]:
    """`lax.scan`, whose carry takes the type on the mesh that the steps give it."""
    if any(leaf.shape[0] == 0 for leaf in jax.tree.leaves(inputs)):
        with jax.disable_jit(False):  # without `jit`, JAX does not scan over nothing
            return _typed_scan(step, carry, inputs, reverse)
    return _typed_scan(step, carry, inputs, reverse)


def _typed_scan(
    step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any, reverse: bool
) -> tuple[Any, Any]:
    if not _has_types(carry, inputs):
        return lax.scan(step, carry, inputs, reverse=reverse)

    def all_carries(carry: Any) -> Any:
        return lax.scan(lambda _, x: (None, step(carry, x)[0]), None, inputs)[1]

    for _ in jax.tree.leaves(carry):  # a step may pass a type on from one leaf to the next alone
        types = jax.tree.map(jax.typeof, carry)
        carry = jax.tree.map(_take_type, carry, jax.eval_shape(all_carries, carry))
        if jax.tree.map(jax.typeof, carry) == types:
            break

    def typed_step(carry: Any, x: Any) -> tuple[Any, Any]:
        new_carry, output = step(carry, x)
        return jax.tree.map(_like, new_carry, carry), output

    return lax.scan(typed_step, carry, inputs, reverse=reverse)


def _split_axes(rows: RowSharding) -> set[str]:
    """The mesh axes over which rows are split."""
    return {name for of_axis in rows.axes if of_axis for name in jax.tree.leaves(of_axis)}


def _manual_axes(rows: RowSharding, split: set[str]) -> set[str]:
    """The axes of `jax.shard_map` for these rows."""
    # An empty set is all axes, except those over which `vmap` spreads models.
    return set() if rows.mesh.are_all_axes_explicit else split


def _take_type(array: Array, of_steps: jax.ShapeDtypeStruct) -> Array:
    """`array [...]`, split as `of_steps [T, ...]` and varying over its axes too."""
    if isinstance(of_steps.sharding, NamedSharding):
        array = _reshard(array, of_steps.sharding.mesh, of_steps.sharding.spec[1:])
    manual = of_steps.manual_axis_type
    return _vary_over(array, frozenset() if manual is None else manual.varying)


def _like(array: Array, other: Array) -> Array:
    """`array` in the type of `other`, which varies over the axes of `array` too."""
    return _vary_over(_reshard(array, *_sharding(other)), _varying(other))


def _sharding(array: Array) -> tuple[Any, Any]:
    """The mesh of an array, or else of the context, and how each axis of the array is split."""
    of_type = jax.typeof(array).sharding
    if of_type.mesh.empty:
        return jax.sharding.get_abstract_mesh(), of_type.spec
    sharding: Any = of_type if is_traced(array) else array.sharding
    return sharding.mesh, of_type.spec


def _reshard(array: Array, mesh: Any, spec: Sequence[Any]) -> Array:
    """`array` split like this over the explicit axes of a mesh."""
    if list(jax.typeof(array).sharding.spec) == list(spec):
        return array
    return jax.sharding.reshard(array, NamedSharding(mesh, PartitionSpec(*spec)))


def _varying(array: Array) -> frozenset[str]:
    return jax.typeof(array).manual_axis_type.varying


def _varying_in(tree: Any) -> frozenset[str]:
    """The manual axes over which any array of a pytree varies."""
    return frozenset[str]().union(*map(_varying, jax.tree.leaves(tree)))


def _vary_over(array: Array, axes: frozenset[str]) -> Array:
    missing = tuple(sorted(axes - _varying(array)))
    return lax.pcast(array, missing, to="varying") if missing else array


def _has_types(*trees: Any) -> bool:
    """Whether types say more than shapes and dtypes: on a mesh with explicit or manual axes."""
    meshes = [jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(trees)]
    return any(
        kind != AxisType.Auto
        for mesh in (jax.sharding.get_abstract_mesh(), *meshes)
        for kind in mesh.axis_types
    )
