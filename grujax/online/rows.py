"""Rows: the state of each row of a batch as one vector, and the derivatives of one step of it.

    R   rows: all batch axes as one          s  [R, S]   the state, its arrays side by side
    S   numbers in the state of one row      θ  [P]      the parameters, their arrays side by side
    P   numbers in the parameters

Nothing passes between rows, so the influence ∂s/∂θ is one matrix `[S, P]` for each row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax import meshes
from grujax.checks import array_leaves, as_arrays

# A cell, `cell(params, state, x) -> state`, as `grujax.scan_cell` takes it.
Cell = Callable[[Any, Any, Any], Any]
# One step of one row, (params, s [S], x) -> s [S].
RowStep = Callable[[Any, Array, Any], Array]


class Layout(NamedTuple):
    """How the arrays of a pytree lie side by side in one vector. It can be hashed."""

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    @property
    def sizes(self) -> list[int]:
        """The number of entries of each array."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def dtype(self) -> Any:
        """The dtype that holds all arrays."""
        return jnp.result_type(*self.dtypes)

    def split(self, vectors: Array, leading: tuple[int, ...] | None = None) -> Any:
        """`vectors [..., size]` as the pytree, with the axes `leading` in place of `...`."""
        leading = vectors.shape[:-1] if leading is None else leading
        parts = jnp.split(vectors, list(accumulate(self.sizes))[:-1], axis=-1)
        arrays = [
            part.reshape(*leading, *shape).astype(dtype)
            for part, shape, dtype in zip(parts, self.shapes, self.dtypes, strict=True)
        ]
        return jax.tree.unflatten(self.structure, arrays)

    def join(self, tree: Any, leading: tuple[int, ...]) -> Array:
        """The arrays `[*leading, *shape]` of a pytree as vectors `[*leading, size]`."""
        leaves = jax.tree.leaves(tree)
        flat = [
            leaf.reshape(*leading, size).astype(self.dtype)
            for leaf, size in zip(leaves, self.sizes, strict=True)
        ]
        return jnp.concatenate(flat, axis=-1)


def layout_of(tree: Any, leading: int = 0) -> Layout:
    """The layout of a pytree of arrays, without so many leading axes."""
    leaves, structure = jax.tree.flatten(tree)
    shapes = tuple(leaf.shape[leading:] for leaf in leaves)
    return Layout(structure, shapes, tuple(str(leaf.dtype) for leaf in leaves))


@dataclass(frozen=True)
class Rows:
    """How the state of a batch is split into rows."""

    batch: tuple[int, ...]
    layout: Layout  # of the state of one row

    @property
    def number(self) -> int:
        """R."""
        return math.prod(self.batch)

    @property
    def size(self) -> int:
        """S."""
        return sum(self.layout.sizes)

    def join(self, state: Any) -> Array:
        """A state, a pytree of `[B, n]`, as `[R, S]`."""
        return self.layout.join(state, self.batch).reshape(self.number, self.size)

    def split(self, vectors: Array) -> Any:
        """`[R, S]` as the state."""
        return self.layout.split(vectors, self.batch)

    def check_inputs(self, x: Any) -> Any:
        """The inputs of one step as arrays `[B, ...]`; raises ValueError unless they are."""
        x = as_arrays("x", x)
        for leaf in jax.tree.leaves(x):
            if leaf.shape[: len(self.batch)] != self.batch:
                raise ValueError(
                    f"`x` holds an array of shape {list(leaf.shape)}, expected the batch axes "
                    f"B = {list(self.batch)} of the state in front."
                )
        return x

    def split_inputs(self, x: Any) -> Any:
        """The inputs of one step, a pytree of `[B, ...]`, as `[R, ...]`."""
        axes = len(self.batch)
        return jax.tree.map(lambda leaf: leaf.reshape(self.number, *leaf.shape[axes:]), x)

    def like(self, leaf: Array) -> Rows:
        """These rows with the batch axes of `leaf [B, ...]`, which may be those of one device."""
        return replace(self, batch=leaf.shape[: len(self.batch)])

    def of_one(self, cell: Cell) -> RowStep:
        """The cell for one row. The cell sees batch axes of size 1, as many as there are."""
        ones = (1,) * len(self.batch)

        def step(params: Any, s: Array, x: Any) -> Array:
            state = self.layout.split(s, ones)
            x = jax.tree.map(lambda leaf: leaf.reshape(*ones, *leaf.shape), x)
            new_state = as_arrays("state", cell(params, state, x))
            check_same_type(state, new_state)
            return self.layout.join(new_state, ones).reshape(self.size)

        return step


def rows_of(name: str, state: Any) -> Rows:
    """The rows of a state; raises ValueError unless it is a pytree of wide floats `[B, n]`."""
    leaves = array_leaves(name, state)
    check_wide(name, leaves)
    if any(leaf.ndim == 0 for leaf in leaves) or len({leaf.shape[:-1] for leaf in leaves}) > 1:
        shapes = ", ".join(str(list(leaf.shape)) for leaf in leaves)
        raise ValueError(
            f"`{name}` must hold arrays [B, n] with the same batch axes, got the shapes {shapes}."
        )
    batch = leaves[0].shape[:-1]
    return Rows(batch, layout_of(state, len(batch)))


def check_wide(name: str, leaves: list[Any]) -> None:
    """Raises ValueError unless all arrays are float32 or float64."""
    for leaf in leaves:
        if leaf.dtype not in (jnp.float32, jnp.float64):
            raise ValueError(
                f"`{name}` must be float32 or float64, got {leaf.dtype}: an influence sums up all "
                "steps so far, and 16 bits lose the small ones."
            )


def check_same_type(state: Any, new_state: Any) -> None:
    """Raises ValueError unless a step returns a state like the one that it took."""
    if layout_of(new_state) != layout_of(state):
        raise ValueError(
            "`cell` must return a state of the structure, shapes and dtypes that it takes, "
            f"{_describe(state)}, got {_describe(new_state)}."
        )


class StepDerivatives(NamedTuple):
    """A step of all rows, and products of covectors `[Q, S]` with its two Jacobians."""

    states: Array  # [R, S], after the step
    of_states: Array  # [R, Q, S], covectors·∂s'/∂s
    of_params: Array  # [R, Q, P], covectors·∂s'/∂θ


def pull_back(
    step: RowStep, params: Any, states: Array, xs: Any, covectors: Array
) -> StepDerivatives:
    """Reverse mode through one step, for the same covectors in every row.

    Args:
        step: of one row.
        params: a pytree.
        states: `[R, S]`, before the step.
        xs: the inputs, a pytree of `[R, ...]`.
        covectors: `[Q, S]`; the identity gives the Jacobians.
    """
    layout = layout_of(params)
    # Each row's own gradient of the parameters, even if all devices have the same parameters.
    params, states, xs, covectors = meshes.vary_alike((params, states, xs, covectors))

    def of_row(s: Array, x: Any) -> StepDerivatives:
        new_s, pull = jax.vjp(lambda params, s: step(params, s, x), params, s)
        of_params, of_states = jax.vmap(pull)(covectors.astype(new_s.dtype))
        return StepDerivatives(new_s, of_states, layout.join(of_params, covectors.shape[:1]))

    return jax.vmap(of_row)(states, xs)


def _describe(state: Any) -> str:
    leaves = ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(state))
    return f"{jax.tree.structure(state)} of {leaves}"
