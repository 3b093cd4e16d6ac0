"""The tangent and the gradient of recurrences: one linear primitive, and its rules.

`Linear` says which linear map an equation of the primitive is; its operands are

    arrays    what the recurrences are made of, each array once
    saved     what the forward pass has saved: for each recurrence `hs`, and the gates it has kept
    linear    tangents of the `wanted` arrays, or, transposed, cotangents of `h_last` and `hs`

and its results the tangents of `h_last` and `hs` of each recurrence or, transposed, the cotangents
of the wanted arrays. Only arrays that have a tangent are wanted.

`vmap` adds a level, which says where the operands have the mapped axis. The map then is that of the
level before under `vmap`. So tangents that are mapped alone (`jax.jacfwd`) do not copy what was
saved, and the rules of differentiation hold at every level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import PartitionSpec

from grujax.implementations import plain
from grujax.implementations.types import Outputs, Primals, RecurrenceArgs, Residuals
from grujax.jax_support.pytrees import flatten_distinct


class Rules(NamedTuple):
    """What an implementation computes, for recurrences of one batch axis, T ≥ 1 and B ≥ 1.

    All take and return lists, with an item for each recurrence.
    """

    forward: Callable[
        [list[RecurrenceArgs], list[bool]], list[Outputs]
    ]  # and whether to keep gates
    tangent: Callable[[list[Residuals], list[Primals]], list[tuple[Array, Array]]]  # None is zero
    backward: Callable[[list[Residuals], list[Array], list[Array]], list[Primals]]  # d_last, d_hs
    keeps_gates: Callable[[RecurrenceArgs], bool]  # for the derivatives


class Structure(NamedTuple):
    """How recurrences are made of arrays, each of which is there once, however often it occurs."""

    rules: Rules
    tree: Any
    positions: tuple[int, ...]  # of each leaf of the recurrences among the arrays

    @classmethod
    def of(cls, rules: Rules, recurrences: list[RecurrenceArgs]) -> tuple[list[Array], Structure]:
        """The arrays of the recurrences, and the structure."""
        arrays, positions, tree = flatten_distinct(recurrences)
        return arrays, cls(rules, tree, tuple(positions))

    def recurrences(self, arrays: Sequence[Any]) -> list[RecurrenceArgs]:
        """The recurrences of these arrays, or of anything else in their place."""
        return jax.tree.unflatten(self.tree, [arrays[position] for position in self.positions])

    @property
    def primal_indices(self) -> list[int]:
        """The arrays that the recurrences are differentiated with respect to."""
        return list(dict.fromkeys(self._leaves_of_primals()))

    def place(self, values: dict[int, Any]) -> list[Primals]:
        """The primals with these values of arrays, None elsewhere."""
        arrays = [values.get(index) for index in range(max(self.positions) + 1)]
        return [args.primals for args in self.recurrences(arrays)]

    def collect(self, gradients: list[Primals]) -> dict[int, Array]:
        """The gradients of the arrays: the sums over the places where an array occurs."""
        collected: dict[int, Array] = {}
        for index, d in zip(self._leaves_of_primals(), jax.tree.leaves(gradients), strict=True):
            collected[index] = collected[index] + d if index in collected else d
        return collected

    def _leaves_of_primals(self) -> list[int]:
        recurrences = self.recurrences(range(max(self.positions) + 1))
        return jax.tree.leaves([args.primals for args in recurrences])


class Level(NamedTuple):
    """A `vmap`: the size of the mapped axis, where each operand has it, or None, and its spec."""

    size: int
    axes: tuple[int | None, ...]
    spec: Any = None  # the axes of a mesh over which the type of an operand spreads it


class Linear(NamedTuple):
    """A linear map of the module's docstring."""

    structure: Structure
    saved: Any  # the tree of what was saved
    array_types: tuple[Any, ...]
    output_types: tuple[Any, ...]  # of `h_last` and `hs` of each recurrence
    precision: Any  # of matmuls, by default
    wanted: tuple[int, ...] = ()  # arrays
    is_transposed: bool = False
    levels: tuple[Level, ...] = ()  # the innermost first

    @classmethod
    def tangent_at(
        cls, structure: Structure, arrays: list[Array], outputs: list[Array], gates: list[Any]
    ) -> Callable[[dict[int, Array]], list[Array]]:
        """The function from tangents of arrays to tangents of outputs."""
        saved, tree = jax.tree.flatten((outputs[1::2], gates))
        config: Any = jax.config
        linear = cls(
            structure,
            tree,
            tuple(map(jax.typeof, arrays)),
            tuple(map(jax.typeof, outputs)),
            config.jax_default_matmul_precision,
        )

        def apply(tangents: dict[int, Array]) -> list[Array]:
            wanted = linear._replace(wanted=tuple(tangents))
            return wanted.bind(*arrays, *saved, *tangents.values())

        return apply

    def bind(self, *operands: Any) -> list[Array]:
        """This map as an equation."""
        return linear_p.bind(*operands, linear=self)

    @property
    def number_saved(self) -> int:
        """How many operands precede the linear ones."""
        return len(self.array_types) + self.saved.num_leaves

    def result_types(self, operand: Any) -> list[Any]:
        """The types of the results, on the mesh of an operand's type."""
        types = self.output_types
        if self.is_transposed:
            types = tuple(self.array_types[index] for index in self.wanted)
        if not self.levels:
            return list(types)
        sizes = [level.size for level in reversed(self.levels)]
        specs = [level.spec for level in reversed(self.levels)]

        def add_axes(kind: Any) -> Any:
            spec = PartitionSpec(*specs, *kind.sharding.spec)
            sharding = operand.sharding.update(spec=spec)
            return kind.update(shape=(*sizes, *kind.shape), sharding=sharding)

        return list(map(add_axes, types))

    def __call__(self, *operands: Array) -> list[Array]:
        """The results, by the implementation."""
        with jax.default_matmul_precision(self.precision):
            return self._vmap(self._run)(*operands)

    def restrict(self, positions: Sequence[int]) -> Linear:
        """Of the wanted arrays of a map that is not transposed, those at these positions."""
        number = self.number_saved
        levels = tuple(
            level._replace(
                axes=level.axes[:number] + tuple(level.axes[number + i] for i in positions)
            )
            for level in self.levels
        )
        wanted = tuple(self.wanted[position] for position in positions)
        return self._replace(wanted=wanted, levels=levels)

    def transpose(self, wanted: tuple[int, ...]) -> Linear:
        """The transposed map, whose linear operands have the mapped axes first."""
        number = len(wanted) if self.is_transposed else len(self.output_types)
        levels = tuple(
            level._replace(axes=level.axes[: self.number_saved] + (0,) * number)
            for level in self.levels
        )
        return self._replace(wanted=wanted, is_transposed=not self.is_transposed, levels=levels)

    def place_axes(self, position: int, cotangent: Array) -> Array:
        """The cotangent of a linear operand, from a result that has the mapped axes first."""
        place: Callable[[Array], Array] = lambda array: array  # noqa: E731
        for _, axes, _ in self.levels:
            place = _place_axis(place, axes[self.number_saved + position])
        return place(cotangent)

    def differentiate(self, operands: Sequence[Array], changes: dict[int, Array]) -> list[Array]:
        """How the results change as arrays change, by the plain implementation."""
        number = len(self.array_types)

        def run(*operands: Array) -> list[Array]:
            arrays, linear = list(operands[:number]), operands[number : -len(changes)]

            def apply(*changed: Array) -> list[Array]:
                for index, array in zip(changes, changed, strict=True):
                    arrays[index] = array
                return self._run_plain(arrays, linear)

            changed = tuple(arrays[index] for index in changes)
            return jax.jvp(apply, changed, operands[-len(changes) :])[1]

        def select(of_operands: Sequence[Any], of_changes: Any) -> tuple[Any, ...]:
            return (*of_operands[:number], *of_operands[self.number_saved :], *of_changes)

        for size, axes, _ in self.levels:
            axes_of_changes = [axes[index] for index in changes]
            run = jax.vmap(run, in_axes=select(axes, axes_of_changes), axis_size=size)
        with jax.default_matmul_precision(self.precision):
            return run(*select(operands, changes.values()))

    def _vmap(self, run: Callable[..., Any]) -> Callable[..., Any]:
        for size, axes, _ in self.levels:
            run = jax.vmap(run, in_axes=axes, axis_size=size)
        return run

    def _run(self, *operands: Array) -> list[Array]:
        number, structure = len(self.array_types), self.structure
        recurrences = structure.recurrences(operands[:number])
        saved = jax.tree.unflatten(self.saved, operands[number : self.number_saved])
        residuals = list(map(Residuals, recurrences, *saved))
        linear = operands[self.number_saved :]
        if self.is_transposed:
            gradients = structure.rules.backward(residuals, list(linear[::2]), list(linear[1::2]))
            collected = structure.collect(gradients)
            return [collected[index] for index in self.wanted]
        tangents = structure.place(dict(zip(self.wanted, linear, strict=True)))
        return [array for pair in structure.rules.tangent(residuals, tangents) for array in pair]

    def _run_plain(self, arrays: list[Array], linear: Sequence[Array]) -> list[Array]:
        def outputs(*wanted: Array) -> list[Array]:
            given = list(arrays)
            for index, array in zip(self.wanted, wanted, strict=True):
                given[index] = array
            found = [plain.run(args) for args in self.structure.recurrences(given)]
            return [array for pair in found for array in pair]

        wanted = tuple(arrays[index] for index in self.wanted)
        if self.is_transposed:
            return list(jax.vjp(outputs, *wanted)[1](list(linear)))
        return jax.jvp(outputs, wanted, tuple(linear))[1]


linear_p = Primitive("grujax_linear")
linear_p.multiple_results = True


@partial(jax.jit, static_argnums=0)
def _apply(linear: Linear, *operands: Array) -> list[Array]:
    return linear(*operands)


def _jvp(operands: Any, dots: Any, *, linear: Linear) -> tuple[list[Array], list[Any]]:
    results, number = linear.bind(*operands), linear.number_saved
    terms: list[list[Array]] = []
    nonzero = [i for i, dot in enumerate(dots[number:]) if type(dot) is not ad.Zero]
    if nonzero and linear.is_transposed:
        terms.append(linear.bind(*operands[:number], *map(ad.instantiate_zeros, dots[number:])))
    elif nonzero:
        changes = (dots[number + position] for position in nonzero)
        terms.append(linear.restrict(nonzero).bind(*operands[:number], *changes))
    # What was saved is a function of the arrays: the plain implementation includes that path.
    changed = {i: dots[i] for i in linear.structure.primal_indices if type(dots[i]) is not ad.Zero}
    if changed:
        terms.append(linear.differentiate(operands, changed))
    if not terms:
        return results, [ad.Zero(jax.typeof(result)) for result in results]
    return results, [sum(of_result[1:], of_result[0]) for of_result in zip(*terms, strict=True)]


def _transpose(cotangents: Any, *operands: Any, linear: Linear) -> list[Any]:
    number = linear.number_saved
    saved = operands[:number]
    unknown = [i for i, x in enumerate(operands[number:]) if ad.is_undefined_primal(x)]
    found: dict[int, Any] = {}
    if not linear.is_transposed:
        wanted = tuple(linear.wanted[position] for position in unknown)
        transposed = linear.transpose(wanted)
        results = transposed.bind(*saved, *map(ad.instantiate_zeros, cotangents))
        found = dict(zip(unknown, results, strict=True))
    elif nonzero := {
        index: d
        for index, d in zip(linear.wanted, cotangents, strict=True)
        if type(d) is not ad.Zero
    }:
        results = linear.transpose(tuple(nonzero)).bind(*saved, *nonzero.values())
        found = {position: results[position] for position in unknown}
    placed = [
        linear.place_axes(position, found[position]) if position in found else None
        for position in range(len(operands) - number)
    ]
    return [None] * number + placed


def _batch(operands: Any, axes: Any, *, linear: Linear) -> tuple[list[Array], list[int]]:
    operand, axis = next(pair for pair in zip(operands, axes, strict=True) if pair[1] is not None)
    spec = jax.typeof(operand).sharding.spec[axis]
    levels = *linear.levels, Level(operand.shape[axis], tuple(axes), spec)
    results = linear._replace(levels=levels).bind(*operands)
    return results, [0] * len(results)


def _place_axis(place: Callable[[Array], Array], axis: int | None) -> Callable[[Array], Array]:
    """`place` for each item of the first axis, which becomes this axis; None: their sum."""
    if axis is None:
        return lambda array: jax.vmap(place)(array).sum(0)
    return jax.vmap(place, out_axes=axis)


linear_p.def_impl(lambda *operands, linear: _apply(linear, *operands))
linear_p.def_abstract_eval(lambda *types, linear: linear.result_types(types[0]))
mlir.register_lowering(
    linear_p,
    mlir.lower_fun(lambda *operands, linear: linear(*operands), multiple_results=True),
)
ad.primitive_jvps[linear_p] = _jvp
ad.primitive_transposes[linear_p] = _transpose
batching.primitive_batchers[linear_p] = _batch
