"""The `Rules` of the kernels: the passes as calls of the primitives, the tangent by the scan.

Recurrences, which all have one size, are one call, as a batch of models. Arrays that they share,
such as the inputs of the two directions of a layer, are passed once; the others are stacked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations import scan
from grujax.implementations.derivatives import keeps_gates
from grujax.implementations.primitive import lowering as _lowering  # noqa: F401 (registers)
from grujax.implementations.primitive.model_batch import ModelBatch
from grujax.implementations.primitive.primitives import KernelOptions, backward_p, forward_p
from grujax.implementations.primitive.sharding import bind_sharded
from grujax.implementations.structure import Rules
from grujax.implementations.types import (
    GateResiduals,
    Outputs,
    Primals,
    RecurrenceArgs,
    Residuals,
)


@cache
def make_rules(options: KernelOptions) -> Rules:
    """The passes by kernels."""
    return Rules(
        partial(_forward, options),
        scan.RULES.tangent,
        partial(_backward, options),
        keeps_gates,
    )


def _forward(
    options: KernelOptions, recurrences: list[RecurrenceArgs], keep_gates: list[bool]
) -> list[Outputs]:
    arguments, is_batched = _stack([(args,) for args in recurrences])
    h_last, hs, *gates = bind_sharded(
        forward_p,
        jax.tree.leaves(arguments),
        structure=jax.tree.structure(arguments),
        is_batched=tuple(jax.tree.leaves(is_batched)),
        batch=_batch_of(recurrences),
        keep_gates=keep_gates[0],
        options=options,
    )
    product = (None,) * (not recurrences[0].params.reset_after)

    def outputs(model: int) -> Outputs:
        kept = GateResiduals(*(gate[model] for gate in gates), *product) if gates else None
        return h_last[model], hs[model], kept

    return [outputs(model) for model in range(len(recurrences))]


def _backward(
    options: KernelOptions, residuals: list[Residuals], d_last: list[Array], d_hs: list[Array]
) -> list[Primals]:
    recurrences = [of_one.args for of_one in residuals]
    arguments, is_batched = _stack(list(zip(residuals, d_last, d_hs, strict=True)))
    gradient = bind_sharded(
        backward_p,
        jax.tree.leaves(arguments),
        structure=jax.tree.structure(arguments),
        is_batched=tuple(jax.tree.leaves(is_batched)),
        batch=_batch_of(recurrences),
        keep_gates=False,
        options=options,
    )
    return [
        jax.tree.unflatten(jax.tree.structure(args.primals), [d[model] for d in gradient])
        for model, args in enumerate(recurrences)
    ]


def _batch_of(recurrences: list[RecurrenceArgs]) -> ModelBatch:
    return ModelBatch(len(recurrences), tuple(args.reverse for args in recurrences))


def _stack(models: Sequence[Any]) -> tuple[Any, Any]:
    """The arguments of all models, and which of their leaves have an axis of models.

    A leaf that is the same array in all models has none.
    """
    models = _with_equal_masks(models)
    leaves = zip(*map(jax.tree.leaves, models), strict=True)
    structure = jax.tree.structure(models[0])
    shared = [(of_models, all(leaf is of_models[0] for leaf in of_models)) for of_models in leaves]
    stacked = [of_models[0] if same else jnp.stack(of_models) for of_models, same in shared]
    is_batched = [not same for _, same in shared]
    return jax.tree.unflatten(structure, stacked), jax.tree.unflatten(structure, is_batched)


def _with_equal_masks(models: Sequence[Any]) -> list[Any]:
    """The models with a mask `restart` in all or in none, and of one structure.

    With lengths, a backward recurrence restarts at each row's last step, a forward one nowhere.
    """

    def is_args(node: Any) -> bool:
        return isinstance(node, RecurrenceArgs)

    def all_args(model: Any) -> list[RecurrenceArgs]:
        return [node for node in jax.tree.leaves(model, is_leaf=is_args) if is_args(node)]

    restarts = [args.masks.restart for model in models for args in all_args(model)]
    given = next((restart for restart in restarts if restart is not None), None)

    def change(node: Any) -> Any:
        if not is_args(node):
            return node
        masks = node.masks
        if masks.restart is None and given is not None:
            masks = masks._replace(restart=jnp.zeros_like(given))
        return node.replace(masks=masks, reverse=False)

    return [jax.tree.map(change, model, is_leaf=is_args) for model in models]
