"""How the outputs of two directions are combined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from grujax.checks import check_choice, describe

Merge = Literal["concat", "sum", "mean", "mul"] | Callable[[Array, Array], Any]

_MERGES: dict[str, Callable[[Array, Array], Array]] = {
    "concat": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": lambda forward, backward: forward + backward,
    "mean": lambda forward, backward: (forward + backward) / 2,
    "mul": lambda forward, backward: forward * backward,
}


def merge_function(merge: Merge) -> Callable[[Array, Array], Array]:
    if callable(merge):
        return merge
    return _MERGES[check_choice("merge", merge, tuple(_MERGES), other="a function")]


def output_size(hidden_size: int, bidirectional: bool, merge: Merge) -> int:
    """The width of the `hs` of a layer, which is the input size of the layer above it."""
    if not bidirectional:
        return hidden_size
    hs = jax.ShapeDtypeStruct((1, 1, hidden_size), jnp.float32)  # [T, B, H]
    return check_one_array(jax.eval_shape(merge_function(merge), hs, hs)).shape[-1]


def check_merged(merged: Any, leading: tuple[int, ...]) -> None:
    """Raises ValueError unless `merge` returned arrays with the leading axes T and B."""
    for leaf in jax.tree.leaves(merged) or [None]:
        if getattr(leaf, "shape", ())[: len(leading)] != leading:
            raise ValueError(
                "`merge` must return an array, or a pytree of arrays, with the leading axes "
                f"[T, B] = {list(leading)} of its arguments, got {describe(leaf)}."
            )


def check_one_array(merged: Any) -> Any:
    """The `hs` of a layer below another; raises ValueError if `merge` returned several arrays."""
    if not hasattr(merged, "shape"):
        raise ValueError(
            f"`merge` must return one array for the layer above to read, got {describe(merged)}."
        )
    return merged
