"""Recurrences as one primitive: the forward pass, whose derivative is `linear`."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax import Array
from jax.interpreters import ad

from grujax.implementations.linear import Linear
from grujax.implementations.structure import Rules, Structure
from grujax.implementations.types import GateResiduals, RecurrenceArgs
from grujax.jax_support.computations import (
    Level,
    add_mapped_axes,
    make_primitive,
    result_type,
    vmap_levels,
)
from grujax.jax_support.promotion import wide_dtype


class Recurrence(NamedTuple):
    """The forward pass of recurrences over the same inputs, from their arrays.

    Its results are `h_last` and `hs` of each in turn, and then the gates of those that keep them.
    """

    structure: Structure
    keep_gates: tuple[bool, ...]
    array_types: tuple[Any, ...]
    precision: Any  # of matmuls, by default
    levels: tuple[Level, ...] = ()  # the innermost first

    @classmethod
    def of(cls, rules: Rules, recurrences: list[RecurrenceArgs]) -> tuple[list[Array], Recurrence]:
        """The arrays of the recurrences, and their forward pass."""
        arrays, structure = Structure.of(rules, recurrences)
        types = tuple(map(jax.typeof, arrays))
        config: Any = jax.config
        precision = config.jax_default_matmul_precision
        return arrays, cls(structure, (False,) * len(recurrences), types, precision)

    def bind(self, arrays: Any) -> list[Array]:
        """This pass as an equation."""
        return recurrence_p.bind(*arrays, computation=self)

    def __call__(self, *arrays: Array) -> list[Array]:
        """The results, by the implementation."""
        with jax.default_matmul_precision(self.precision):
            return vmap_levels(self._run, self.levels)(*arrays)

    def result_types(self, operand: Any) -> list[Any]:
        """The types of the results, on the mesh of an operand's type."""
        types = [*self.output_types, *jax.tree.leaves(self.gate_types)]
        return add_mapped_axes(types, self.levels, operand)

    @property
    def output_types(self) -> tuple[Any, ...]:
        """Of `h_last` and `hs` of each recurrence, without mapped axes."""
        shapes = [
            shape
            for args in self.structure.recurrences(self.array_types)
            for shape in (args.h0.shape, (*args.xs.shape[:2], args.h0.shape[-1]))
        ]
        dtype = self.array_types[0].dtype
        return tuple(result_type(self.array_types, shape, dtype) for shape in shapes)

    @property
    def gate_types(self) -> list[GateResiduals | None]:
        """Of the gates of each recurrence, without mapped axes; None if it does not keep them."""

        def of_one(args: RecurrenceArgs) -> GateResiduals:
            shape = *args.xs.shape[:2], args.h0.shape[-1]
            gate = result_type(self.array_types, shape, wide_dtype(args.xs.dtype))
            return GateResiduals(gate, gate, gate, gate if args.params.reset_after else None)

        recurrences = self.structure.recurrences(self.array_types)
        pairs = zip(recurrences, self.keep_gates, strict=True)
        return [of_one(args) if keep else None for args, keep in pairs]

    def for_derivatives(self) -> Recurrence:
        """The same pass, which keeps the gates that the derivatives need."""
        recurrences = self.structure.recurrences(self.array_types)
        return self._replace(keep_gates=tuple(map(self.structure.rules.keeps_gates, recurrences)))

    def split(self, results: list[Array]) -> tuple[list[Array], list[Any]]:
        """Outputs, and the gates of each recurrence or None, from the results."""
        number = len(self.output_types)
        return results[:number], jax.tree.unflatten(
            jax.tree.structure(self.gate_types), results[number:]
        )

    def tangent(self, number_saved: int, saved: Any, wanted: tuple[int, ...]) -> Linear:
        """The map from tangents of the wanted arrays to those of the outputs.

        Args:
            number_saved: how many arrays were saved.
            saved: their tree.
            wanted: the arrays that have a tangent.
        """

        def at_derivative(level: Level) -> Level:
            of_wanted = (level.axes[index] for index in wanted)
            return level._replace(axes=(*level.axes, *[0] * number_saved, *of_wanted))

        return Linear(
            self.structure,
            saved,
            self.array_types,
            self.output_types,
            self.precision,
            wanted,
            levels=tuple(map(at_derivative, self.levels)),
        )

    def _run(self, *arrays: Array) -> list[Array]:
        recurrences = self.structure.recurrences(arrays)
        found = self.structure.rules.forward(recurrences, list(self.keep_gates))
        outputs = [array for h_last, hs, _ in found for array in (h_last, hs)]
        return outputs + jax.tree.leaves([gates for *_, gates in found])


def _jvp(arrays: Any, dots: Any, *, computation: Recurrence) -> tuple[list[Array], list[Any]]:
    wanted = [i for i in computation.structure.primal_indices if type(dots[i]) is not ad.Zero]
    if not wanted:
        results = computation.bind(arrays)
        return results, list(map(_no_tangent, results))
    kept = computation.for_derivatives()
    outputs, gates = kept.split(kept.bind(arrays))
    saved, tree = jax.tree.flatten((outputs[1::2], gates))
    push = kept.tangent(len(saved), tree, tuple(wanted))
    tangents = push.bind(*arrays, *saved, *(dots[index] for index in wanted))
    pairs = zip(gates, computation.keep_gates, strict=True)
    kept_gates = jax.tree.leaves([of_one for of_one, keep in pairs if keep])
    # The gates are for the derivatives alone, whose own derivatives do not go through the gates.
    return outputs + kept_gates, tangents + list(map(_no_tangent, kept_gates))


def _no_tangent(array: Array) -> ad.Zero:
    return ad.Zero(jax.typeof(array))


recurrence_p = make_primitive("grujax_recurrence")
ad.primitive_jvps[recurrence_p] = _jvp
