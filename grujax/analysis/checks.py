"""Checks of the arguments that the functions of `analysis` share."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.checks import as_array, as_arrays, as_floating, check_callable, describe
from grujax.jax_support.promotion import wide_dtype


def check_function(name: str, value: Any, arguments: str, result: str = "[]") -> Any:
    """A function, not a class, that takes as many positional arguments as `arguments` names."""
    signature = f"({arguments}) -> {result}"
    check_callable(name, value, signature)
    if isinstance(value, type) or not _takes(value, arguments.count(",") + 1):
        raise ValueError(f"`{name}` must be a function `{signature}`, got {describe(value)}.")
    return value


def _takes(function: Any, count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # some functions that are not written in Python hide their signature
        return True
    return True


def check_scalar(name: str, value: Any) -> Any:
    """What the function of this name returned: one floating number."""
    try:
        fits = as_floating(name, value).ndim == 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"`{name}` must return one floating number, got {describe(value)}.")
    return value


def check_next_state(after: Any, before: Any) -> None:
    """Raises ValueError unless the state that `cell` returned has the shapes of the one before."""
    structure: Any = jax.tree.structure(before)
    same_tree = jax.tree.structure(after) == structure
    if same_tree:
        after, before = (jax.tree.leaves(jax.tree.map(jnp.shape, tree)) for tree in (after, before))
    if not same_tree or after != before:
        raise ValueError(
            "`cell` must return a state with the structure and shapes of the one that it was "
            f"given, {_shapes(before)}, got {_shapes(after)}."
        )


def _shapes(tree: Any) -> str:
    return str(jax.tree.map(lambda leaf: list(jnp.shape(leaf)), tree))


def check_steps(name: str, xs: Array) -> Array:
    """Raises ValueError unless `xs` has the axes `[T, B, I]`, B optional, and at least one step."""
    if xs.ndim < 2:
        raise ValueError(f"`{name}` must have shape [T, B, I] or [T, I], got {list(xs.shape)}.")
    if not xs.shape[0]:
        raise ValueError(f"`{name}` has no step, expected at least one.")
    return xs


def as_floating_leaves(name: str, tree: Any) -> Any:
    """A pytree of at least one array, each of floating dtype."""
    tree = as_arrays(name, tree)
    if not jax.tree.leaves(tree):
        raise ValueError(f"`{name}` must hold at least one array, got {describe(tree)}.")
    return jax.tree.map(lambda leaf: as_floating(name, leaf), tree)


def at_least_float32(name: str, tree: Any) -> Any:
    """Casts floating leaves to at least float32, because `jnp.linalg` has no bfloat16."""

    def cast(leaf: Array) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return leaf.astype(wide_dtype(leaf.dtype))

    return jax.tree.map(cast, as_arrays(name, tree))


def as_square(name: str, value: Any) -> Array:
    """Floating `[B, H, H]` in at least float32, H at least 1."""
    matrix = as_floating(name, value)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or not matrix.shape[-1]:
        raise ValueError(
            f"`{name}` must be square matrices [B, H, H], H at least 1, got {list(matrix.shape)}."
        )
    return at_least_float32(name, matrix)


def as_numbers(name: str, value: Any) -> Array:
    """An array of floats or integers."""
    array = as_array(name, value)
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise ValueError(f"`{name}` must be real numbers, got {array.dtype.name}.")
    return array
