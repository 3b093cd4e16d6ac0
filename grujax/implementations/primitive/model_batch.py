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
    structure of the arguments: which leaves have a leading axis of models. All results have one.
    """

    number: int
    reverse: tuple[
        bool, ...
    ]  # of the models in turn: of the first, second, ..., first, second, ...

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
        if self.number == 1:  # without `vmap`, for which the scan would run a loop
            model = jax.tree.map(
                lambda has_axis, leaf: leaf[0] if has_axis else leaf, is_batched, arguments
            )
            return jax.tree.map(lambda array: array[None], run(*model)), True
        axes = jax.tree.map(lambda has_axis: 0 if has_axis else None, is_batched)
        return jax.vmap(run, in_axes=axes)(*arguments), True

    def vmap_directions(
        self, run: Callable[..., Any], is_batched: Any, *arguments: Any
    ) -> tuple[Any, bool]:
        """The same for `run(reverse, ...)`, with the direction of each model."""
        if len(set(self.reverse)) == 1:
            return self.vmap(partial(run, self.reverse[0]), is_batched, *arguments)
        period = len(self.reverse)
        models = ModelBatch(self.number // period, (False,))

        def run_direction(first: int, reverse: bool) -> Any:
            of_direction = jax.tree.map(
                lambda has_axis, leaf: leaf[first::period] if has_axis else leaf,
                is_batched,
                arguments,
            )
            return models.add_axis(*models.vmap(partial(run, reverse), is_batched, *of_direction))

        directions = [run_direction(*direction) for direction in enumerate(self.reverse)]
        return jax.tree.map(self._interleave, *directions), True

    def add_axis(self, results: Any, has_axis: bool) -> Any:
        """The results of `vmap` with an axis of models in any case."""
        if has_axis:
            return results
        return jax.tree.map(lambda array: jnp.stack([array] * self.number), results)

    def _interleave(self, *directions: Array) -> Array:
        return jnp.stack(directions, 1).reshape(self.number, *directions[0].shape[1:])
