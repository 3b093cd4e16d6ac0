"""The tangent and the gradient of recurrences: one linear primitive, and its rules.

`Linear` says which linear map an equation of the primitive is; its operands are

    arrays    what the recurrences are made of, each array once
    saved     what the forward pass has saved: for each recurrence `hs`, and the gates it has kept
    linear    tangents of the `wanted` arrays, or, transposed, cotangents of `h_last` and `hs`

and its results the tangents of `h_last` and `hs` of each recurrence or, transposed, the cotangents
of the wanted arrays. Only arrays that have a tangent are wanted.

`vmap` adds a level to the map, see `grujax.jax_support.computations`. So tangents that are mapped
alone (`jax.jacfwd`) do not copy what was saved, and the rules of differentiation hold at every
level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
from jax import Array
from jax.interpreters import ad

from grujax.implementations import plain
from grujax.implementations.structure import Structure
from grujax.implementations.types import Residuals
from grujax.jax_support.computations import (
    Level,
    add_mapped_axes,
    make_primitive,
    vmap_levels,
)


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

    def bind(self, *operands: Any) -> list[Array]:
        """This map as an equation."""
        return linear_p.bind(*operands, computation=self)

    @property
    def number_saved(self) -> int:
        """How many operands precede the linear ones."""
        return len(self.array_types) + self.saved.num_leaves

    def result_types(self, operand: Any) -> list[Any]:
        """The types of the results, on the mesh of an operand's type."""
        types = self.output_types
        if self.is_transposed:
            types = tuple(self.array_types[index] for index in self.wanted)
        return add_mapped_axes(types, self.levels, operand)

    def __call__(self, *operands: Array) -> list[Array]:
        """The results, by the implementation."""
        with jax.default_matmul_precision(self.precision):
            return vmap_levels(self._run, self.levels)(*operands)

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

        def select(of_operands: Sequence[Any], of_changes: Iterable[Any]) -> tuple[Any, ...]:
            return (*of_operands[:number], *of_operands[self.number_saved :], *of_changes)

        def axes_of(axes: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return select(axes, (axes[index] for index in changes))

        with jax.default_matmul_precision(self.precision):
            mapped = vmap_levels(run, self.levels, axes_of)
            return mapped(*select(operands, changes.values()))

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


def _jvp(operands: Any, dots: Any, *, computation: Linear) -> tuple[list[Array], list[Any]]:
    linear = computation
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


def _transpose(cotangents: Any, *operands: Any, computation: Linear) -> list[Any]:
    linear = computation
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


def _place_axis(place: Callable[[Array], Array], axis: int | None) -> Callable[[Array], Array]:
    """`place` for each item of the first axis, which becomes this axis; None: their sum."""
    if axis is None:
        return lambda array: jax.vmap(place)(array).sum(0)
    return jax.vmap(place, out_axes=axis)


linear_p = make_primitive("grujax_linear")
ad.primitive_jvps[linear_p] = _jvp
ad.primitive_transposes[linear_p] = _transpose
