"""Several models of one shape in one call, of whose arrays some have an axis of models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Stack(NamedTuple):
    """How many models there are, None for one alone, and which of them walk backwards."""

    models: int | None
    even: bool
    odd: bool

    @property
    def number(self) -> int:
        return self.models or 1

    @property
    def is_several(self) -> bool:
        """Whether results have an axis of models."""
        return self.models is not None

    def each(self, run: Callable[..., Any], own: Any, *arguments: Any) -> tuple[Any, bool]:
        """`run` for each model, and whether there was any difference between them.

        `own` is a tree of the arguments' structure: which leaves have a leading axis of models.
        """
        if not any(jax.tree.leaves(own)):
            return run(*arguments), False
        axes = jax.tree.map(lambda is_own: 0 if is_own else None, own)
        return jax.vmap(run, in_axes=axes)(*arguments), True

    def directed(self, run: Callable[..., Any], own: Any, *arguments: Any) -> tuple[Any, bool]:
        """The same for `run(reverse, ...)`."""
        if self.models is None or self.even == self.odd:
            return self.each(partial(run, self.even), own, *arguments)

        leaves, structure = jax.tree.flatten(arguments)
        axes = [0 if is_own else None for is_own in jax.tree.leaves(own)]

        def of_direction(first: int, reverse: bool) -> Any:
            half = [
                leaf if axis is None else leaf[first::2]
                for leaf, axis in zip(leaves, axes, strict=True)
            ]

            def run_leaves(*leaves: Array) -> Any:
                return run(reverse, *jax.tree.unflatten(structure, leaves))

            return jax.vmap(run_leaves, in_axes=axes, axis_size=self.number // 2)(*half)

        pairs = of_direction(0, self.even), of_direction(1, self.odd)
        return jax.tree.map(self._interleave, *pairs), True

    def trim(self, results: Any, units: int) -> Any:
        """The first units of `[models, ..., H]`, without its first axis for one model alone."""

        def of_leaf(array: Array) -> Array:
            array = array[..., :units]
            return array if self.is_several else array[0]

        return jax.tree.map(of_leaf, results)

    def _interleave(self, even: Array, odd: Array) -> Array:
        return jnp.stack([even, odd], 1).reshape(self.number, *even.shape[1:])
