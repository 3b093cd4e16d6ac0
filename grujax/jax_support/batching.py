"""`vmap` of what on a CPU runs best, or only, one model after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap


def sequential_vmap_on_cpu(
    run: Callable[..., Any], get_params: Callable[..., Any]
) -> Callable[..., Any]:
    """`run` with a batching rule for batched parameters.

    On a CPU, XLA runs a batched matmul several times slower than a loop over plain matmuls, so the
    models run one after the other there. On other platforms, where there are no models or all share
    their parameters, and where the mesh has explicit axes and spreads them, this is `jax.vmap`.

    Args:
        run: a function of pytrees.
        get_params: returns the parameters among the arguments of `run`.
    """
    mapped = custom_vmap(run)

    @mapped.def_vmap
    def batched(axis_size, is_batched, *arguments):
        axes = jax.tree.map(lambda has_axis: 0 if has_axis else None, is_batched)
        in_parallel = jax.vmap(run, in_axes=axes, axis_size=axis_size)
        result = jax.eval_shape(in_parallel, *arguments)
        structure = jax.tree.structure(arguments)
        leaf_is_batched = jax.tree.leaves(is_batched)
        is_shared = not any(jax.tree.leaves(get_params(*is_batched)))
        is_spread = map(_is_spread, jax.tree.leaves(arguments), leaf_is_batched)
        if is_shared or axis_size == 0 or any(is_spread):
            return in_parallel(*arguments), jax.tree.map(lambda _: True, result)

        def in_sequence(*arguments):
            leaves = jax.tree.leaves(arguments)

            def run_model(index):
                of_model = [
                    leaf[index] if has_axis else leaf
                    for leaf, has_axis in zip(leaves, leaf_is_batched, strict=True)
                ]
                return mapped(*jax.tree.unflatten(structure, of_model))

            return lax.map(run_model, jnp.arange(axis_size))

        outputs = lax.platform_dependent(*arguments, cpu=in_sequence, default=in_parallel)
        return outputs, jax.tree.map(lambda _: True, result)

    return mapped


def _is_spread(array: Array, has_axis: bool) -> bool:
    """Whether the type of an array says that its first axis, of models, is spread over devices."""
    spec = jax.typeof(array).sharding.spec
    return has_axis and spec[0] is not None
