"""How a recurrence is batched by `vmap`: over models, or over data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap


def over_models(run: Callable[..., Any], model_of: Callable[..., Any]) -> Callable[..., Any]:
    """`run` with a batching rule of its own for stacked parameters.

    On a CPU, XLA runs a batched matmul several times slower than a loop over plain ones, so models
    run one after the other there. Elsewhere, and where all share their parameters, `jax.vmap`.
    """
    mapped = custom_vmap(run)

    @mapped.def_vmap
    def batched(axis_size, in_batched, *arguments):
        axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, in_batched)
        side_by_side = jax.vmap(run, in_axes=axes, axis_size=axis_size)
        result = jax.eval_shape(side_by_side, *arguments)
        if not any(jax.tree.leaves(model_of(*in_batched))):
            return side_by_side(*arguments), jax.tree.map(lambda _: True, result)

        structure = jax.tree.structure(arguments)
        is_batched = jax.tree.leaves(in_batched)

        def one_by_one(*arguments):
            leaves = jax.tree.leaves(arguments)

            def one(index):
                own = [
                    leaf[index] if has_axis else leaf
                    for leaf, has_axis in zip(leaves, is_batched, strict=True)
                ]
                return mapped(*jax.tree.unflatten(structure, own))

            return lax.map(one, jnp.arange(axis_size))

        outputs = lax.platform_dependent(*arguments, cpu=one_by_one, default=side_by_side)
        return outputs, jax.tree.map(lambda _: True, result)

    return mapped
