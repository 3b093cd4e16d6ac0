"""Primitives whose equations hold what they compute, under any number of `vmap`s.

The parameter `computation` of an equation is a hashable function of the operands, which returns a
list. It has a field `levels` and a method `result_types`. JAX takes no part of such an equation
out of a loop and differentiates it by its own rules alone, at every order. (JAX expands a
`jax.custom_jvp` inside of a scan, whose second derivatives then ignore its rule.)

`vmap` adds a level, which says where the operands have the mapped axis. The computation then is
that of the level before under `vmap`, and all results have the mapped axis first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jax.sharding import PartitionSpec


class Level(NamedTuple):
    """A `vmap`: the size of the mapped axis, where each operand has it, or None, and its spec."""

    size: int
    axes: tuple[int | None, ...]
    spec: Any = None  # the axes of a mesh over which the type of an operand spreads it


def make_primitive(name: str) -> Primitive:
    """A primitive of this name; its rules of differentiation are still to be registered."""
    primitive = Primitive(name)
    primitive.multiple_results = True
    primitive.def_impl(lambda *operands, computation: _apply(computation, *operands))
    primitive.def_abstract_eval(lambda *types, computation: computation.result_types(types[0]))
    lower = mlir.lower_fun(
        lambda *operands, computation: computation(*operands), multiple_results=True
    )
    mlir.register_lowering(primitive, lower)
    batching.primitive_batchers[primitive] = partial(_batch, primitive)
    return primitive


def vmap_levels(
    run: Callable[..., Any],
    levels: Sequence[Level],
    select: Callable[[tuple[int | None, ...]], tuple[int | None, ...]] = lambda axes: axes,
) -> Callable[..., Any]:
    """`run` under all levels, the innermost first; its operands have the axes `select(axes)`."""
    for size, axes, _ in levels:
        run = jax.vmap(run, in_axes=select(axes), axis_size=size)
    return run


def add_mapped_axes(types: Sequence[Any], levels: Sequence[Level], operand: Any) -> list[Any]:
    """These types of results with the axes of all levels first, on the mesh of an operand."""
    if not levels:
        return list(types)
    sizes = [level.size for level in reversed(levels)]
    specs = [level.spec for level in reversed(levels)]

    def add_axes(kind: Any) -> Any:
        sharding = operand.sharding.update(spec=PartitionSpec(*specs, *kind.sharding.spec))
        return kind.update(shape=(*sizes, *kind.shape), sharding=sharding)

    return list(map(add_axes, types))


def result_type(operands: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    """A type on the mesh of the first operand, which varies over the axes of all operands."""
    axes = frozenset[str]().union(*(kind.manual_axis_type.varying for kind in operands))
    first = operands[0]
    return first.update(
        shape=shape,
        dtype=dtype,
        weak_type=False,
        sharding=first.sharding.update(spec=PartitionSpec(*[None] * len(shape))),
        manual_axis_type=first.manual_axis_type.update(varying=axes),
    )


@partial(jax.jit, static_argnums=0)
def _apply(computation: Any, *operands: Array) -> list[Array]:
    return computation(*operands)


def _batch(
    primitive: Primitive, operands: Any, axes: Any, *, computation: Any
) -> tuple[list[Array], list[int]]:
    operand, axis = next(pair for pair in zip(operands, axes, strict=True) if pair[1] is not None)
    spec = jax.typeof(operand).sharding.spec[axis]
    levels = *computation.levels, Level(operand.shape[axis], tuple(axes), spec)
    results = primitive.bind(*operands, computation=computation._replace(levels=levels))
    return results, [0] * len(results)
