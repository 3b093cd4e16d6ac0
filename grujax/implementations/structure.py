"""What an implementation computes, and of which arrays recurrences are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax import Array

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
