"""`vmap` over models: each device runs its own, and a CPU runs one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap
from jax.sharding import PartitionSpec


def run_own_models(
    run: Callable[..., tuple[Any, Any]], leaves: Sequence[Array], axes: Sequence[int | None]
) -> tuple[Any, Any]:
    """`run(*leaves)`; each device runs the models that it holds.

    On a mesh with explicit axes, the type of an array says over which of them its axis of models is
    spread. On automatic axes XLA spreads what it wants, and this is `run(*leaves)`.

    Args:
        run: a function of arrays, for any number of models. Returns a tree of results, and the axis
            of models of each.
        leaves: the arrays.
        axes: of each array its axis of models, or None.
    """
    spread = _spread_of(leaves, axes)
    if spread is None:
        return run(*leaves)
    mesh, of_models = spread
    names = tuple(jax.tree.leaves(of_models))

    def run_here(*leaves: Array) -> Any:
        alike = [
            lax.pcast(leaf, names, to="varying") if axis is None else leaf
            for leaf, axis in zip(leaves, axes, strict=True)
        ]
        return jax.tree.map(lambda result, axis: jnp.moveaxis(result, axis, 0), *run(*alike))

    def spec(axis: int | None) -> PartitionSpec:
        return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, of_models)

    results = jax.shard_map(
        run_here,
        mesh=mesh,
        in_specs=tuple(map(spec, axes)),
        out_specs=spec(0),
        axis_names=set(names),
    )(*leaves)
    return results, jax.tree.map(lambda _: 0, results)


def sequential_vmap_on_cpu(
    run: Callable[..., Any], get_params: Callable[..., Any], *, moves_to_devices: bool = True
) -> Callable[..., Any]:
    """`run` with a batching rule for batched parameters.

    On a CPU, XLA runs a batched matmul several times slower than a loop over plain matmuls, so the
    models of a device run one after the other there. On other platforms, and where there are no
    models or all share their parameters, this is `jax.vmap`.

    Args:
        run: a function of pytrees.
        get_params: returns the parameters among the arguments of `run`.
        moves_to_devices: whether `run` may run inside of `jax.shard_map`. If not, models that are
            spread over explicit axes of a mesh are those of `jax.vmap`.
    """
    mapped = custom_vmap(run)

    @mapped.def_vmap
    def batched(axis_size, is_batched, *arguments):
        leaves, structure = jax.tree.flatten(arguments)
        axes = [0 if has_axis else None for has_axis in jax.tree.leaves(is_batched)]
        is_shared = not any(jax.tree.leaves(get_params(*is_batched)))

        def of_leaves(function):
            return lambda *leaves: function(*jax.tree.unflatten(structure, leaves))

        in_parallel = jax.vmap(of_leaves(run), in_axes=axes)

        def in_sequence(*leaves):
            shared = dict(enumerate(leaves))
            models = {index: shared.pop(index) for index, axis in enumerate(axes) if axis == 0}

            def run_model(model):
                of_model = shared | model
                return of_leaves(mapped)(*(of_model[index] for index in range(len(leaves))))

            return lax.map(run_model, models)

        def run_models(*leaves):
            if is_shared or axis_size == 0:
                results = in_parallel(*leaves)
            else:
                results = lax.platform_dependent(*leaves, cpu=in_sequence, default=in_parallel)
            return results, jax.tree.map(lambda _: 0, results)

        if moves_to_devices or _spread_of(leaves, axes) is None:
            results, _ = run_own_models(run_models, leaves, axes)
        else:
            results = in_parallel(*leaves)
        return results, jax.tree.map(lambda _: True, results)

    return mapped


def _spread_of(leaves: Sequence[Array], axes: Sequence[int | None]) -> tuple[Any, Any] | None:
    """The mesh, and its axes over which the models are spread; None if they are not."""
    leaf, axis = next(pair for pair in zip(leaves, axes, strict=True) if pair[1] is not None)
    sharding = jax.typeof(leaf).sharding
    names = sharding.spec[axis]
    return None if names is None else (sharding.mesh, names)
