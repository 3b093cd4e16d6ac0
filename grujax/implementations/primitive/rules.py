"""The `VJPRules` of the kernels: both passes as calls of the primitives."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations import plain
from grujax.implementations.primitive import lowering as _lowering  # noqa: F401 (registers)
from grujax.implementations.primitive.model_batch import ModelBatch
from grujax.implementations.primitive.primitives import KernelOptions, backward_p, forward_p
from grujax.implementations.primitive.sharding import bind_sharded
from grujax.implementations.types import (
    GateResiduals,
    Outputs,
    Primals,
    RecurrenceArgs,
    Residuals,
)
from grujax.implementations.vjp import VJPRules

_BOTH = ModelBatch(2, (False, True))


@cache
def make_rules(options: KernelOptions, both: bool = False) -> VJPRules:
    """The passes by kernels: of one recurrence, or of `both` directions in one call."""
    if both:
        backward = partial(_backward_both, options)
        return VJPRules(partial(_forward, options, True), backward, plain=_plain_both)
    return VJPRules(partial(_forward, options, False), partial(_backward, options, False))


def _forward(options: KernelOptions, both: bool, args: RecurrenceArgs, keep_gates: bool) -> Outputs:
    leaves, structure = jax.tree.flatten((args,))
    h_last, hs, *gates = bind_sharded(
        forward_p,
        leaves,
        structure=structure,
        is_batched=tuple(jax.tree.leaves(_is_batched(args, both))),
        batch=_BOTH if both else ModelBatch(None, (args.reverse,)),
        keep_gates=keep_gates,
        options=options,
    )
    product = (None,) * (not args.params.reset_after)
    return h_last, hs, GateResiduals(*gates, *product) if keep_gates else None


def _backward(
    options: KernelOptions, both: bool, residuals: Residuals, d_last: Array, d_hs: Array
) -> Primals:
    args = residuals.args
    arguments = residuals, d_last, d_hs
    leaves, structure = jax.tree.flatten(arguments)
    is_batched = jax.tree.map(lambda _: both, arguments)
    is_batched = is_batched[0]._replace(args=_is_batched(args, both)), *is_batched[1:]
    gradient = bind_sharded(
        backward_p,
        leaves,
        structure=structure,
        is_batched=tuple(jax.tree.leaves(is_batched)),
        batch=_BOTH if both else ModelBatch(None, (args.reverse,)),
        keep_gates=False,
        options=options,
    )
    return jax.tree.unflatten(jax.tree.structure(args.primals), gradient)


def _backward_both(
    options: KernelOptions, residuals: Residuals, d_last: Array, d_hs: Array
) -> Primals:
    gradient = _backward(options, True, residuals, d_last, d_hs)
    return gradient._replace(xs=gradient.xs.sum(0))


def _plain_both(args: RecurrenceArgs) -> tuple[Array, Array]:
    is_batched = _is_batched(args, True)

    def run(index: int) -> tuple[Array, Array]:
        of_direction = jax.tree.map(
            lambda leaf, has_axis: leaf[index] if has_axis else leaf, args, is_batched
        )
        return plain.run(of_direction.replace(reverse=index == 1))

    return jax.tree.map(lambda *pair: jnp.stack(pair), run(0), run(1))


def _is_batched(args: RecurrenceArgs, both: bool) -> Any:
    """Which leaves have an axis of models: for both directions, what they do not share."""
    is_batched = jax.tree.map(lambda _: both, args)
    shared = args.masks.valid, args.masks.zoneout_rate
    valid, zoneout_rate = jax.tree.map(lambda _: False, shared)
    masks = is_batched.masks._replace(valid=valid, zoneout_rate=zoneout_rate)
    return is_batched.replace(xs=False, masks=masks)
