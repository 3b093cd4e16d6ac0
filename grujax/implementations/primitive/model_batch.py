"""A batch of models of one shape in one call, where some arrays have an axis of models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class ModelBatch(NamedTuple):
    """How many models a call runs, and in which direction of time each of them runs.

    `is_batched`, in the methods and wherever a batch is passed on, is a tree of bools with the
    structure of the arguments: which leaves have a leading axis of models.
    """

    models: int | None  # None: one model, without an axis of models in the results
    reverse: tuple[bool] | tuple[bool, bool]  # of all models, or of even and of odd models

    @property
    def number(self) -> int:
        """How many models run."""
        return self.models or 1

    @property
    def has_axis(self) -> bool:
        """Whether results have an axis of models."""
        return self.models is not None

    @property
    def reverse_bits(self) -> int:
        """`reverse` as the kernels take it: bit 0 for even models, bit 1 for odd models."""
        return self.reverse[0] + 2 * self.reverse[-1]

    def vmap(self, run: Callable[..., Any], is_batched: Any, *arguments: Any) -> tuple[Any, bool]:
        """`run` for each model, and whether the results have an axis of models.

        They have none where no argument has one.
        """
        if not any(jax.tree.leaves(is_batched)):
            return run(*arguments), False
        axes = jax.tree.map(lambda has_axis: 0 if has_axis else None, is_batched)
        return jax.vmap(run, in_axes=axes)(*arguments), True

    def vmap_directions(
        self, run: Callable[..., Any], is_batched: Any, *arguments: Any
    ) -> tuple[Any, bool]:
        """The same for `run(reverse, ...)`, with the direction of each model."""
        if self.models is None or self.reverse[0] == self.reverse[-1]:
            return self.vmap(partial(run, self.reverse[0]), is_batched, *arguments)

        leaves, structure = jax.tree.flatten(arguments)
        axes = [0 if has_axis else None for has_axis in jax.tree.leaves(is_batched)]

        def run_direction(first: int, reverse: bool) -> Any:
            def run_leaves(*leaves: Array) -> Any:
                return run(reverse, *jax.tree.unflatten(structure, leaves))

            if self.number == 2:  # without `vmap`, for which the scan would run a loop
                model = [
                    leaf if axis is None else leaf[first]
                    for leaf, axis in zip(leaves, axes, strict=True)
                ]
                return jax.tree.map(lambda array: array[None], run_leaves(*model))
            half = [
                leaf if axis is None else leaf[first::2]
                for leaf, axis in zip(leaves, axes, strict=True)
            ]
            return jax.vmap(run_leaves, in_axes=axes, axis_size=self.number // 2)(*half)

        directions = [run_direction(*direction) for direction in enumerate(self.reverse)]
        return jax.tree.map(self._interleave, *directions), True

    def trim(self, results: Any, units: int) -> Any:
        """The first units of `[models, ..., H]`, without the axis of models for one model."""

        def trim_leaf(array: Array) -> Array:
            array = array[..., :units]
            return array if self.has_axis else array[0]

        return jax.tree.map(trim_leaf, results)

    def _interleave(self, even: Array, odd: Array) -> Array:
        return jnp.stack([even, odd], 1).reshape(self.number, *even.shape[1:])
