"""The two passes by kernels, as the primitives of `grujax.implementations.primitive.calls`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations import plain, scan
from grujax.implementations.cuda import nvrtc
from grujax.implementations.gates import Gates
from grujax.implementations.passes import Inputs, Kept, Outputs, Passes
from grujax.implementations.primitive.calls import Kernels, backward_p, forward_p
from grujax.implementations.primitive.sharding import bind
from grujax.implementations.types import Masks
from grujax.params import GRUParams


@cache
def of_one(kernels: Kernels) -> Passes:
    """The passes of one walk."""
    return Passes(partial(_forward, kernels), partial(_backward, kernels), _keeping(kernels))


@cache
def of_both(kernels: Kernels) -> Passes:
    """The passes of two walks side by side."""
    return Passes(
        partial(_forward_both, kernels),
        partial(_backward_both, kernels),
        _keeping(kernels),
        _plain_both,
    )


def _keeping(kernels: Kernels) -> Callable[[Inputs], bool]:
    """A GPU has the memory, and recomputes the gates by a matmul as long as the walk itself."""

    def pays(inputs: Inputs) -> bool:
        on_gpu = "cuda" in kernels.names and nvrtc.is_installed() and jax.default_backend() == "gpu"
        return on_gpu or scan.pays_to_keep_gates(inputs)

    return pays


def _forward(
    kernels: Kernels, reverse: bool, keep_gates: bool, inputs: Inputs, masks: Masks
) -> Outputs:
    shared = jax.tree.map(lambda _: False, (inputs, masks))
    return _call_forward(kernels, None, shared, (reverse, reverse), keep_gates, inputs, masks)


def _backward(kernels: Kernels, reverse: bool, kept: Kept, d_last: Array, d_hs: Array) -> Inputs:
    shared = jax.tree.map(lambda _: False, (kept, d_last, d_hs))
    return _call_backward(kernels, None, shared, (reverse, reverse), kept, d_last, d_hs)


def _forward_both(
    kernels: Kernels, _: bool, keep_gates: bool, inputs: Inputs, masks: Masks
) -> Outputs:
    stacked = _stacked_inputs(inputs), _stacked_masks(masks)
    return _call_forward(kernels, 2, stacked, (False, True), keep_gates, inputs, masks)


def _backward_both(kernels: Kernels, _: bool, kept: Kept, d_last: Array, d_hs: Array) -> Inputs:
    own = jax.tree.map(lambda _: True, (kept, d_last, d_hs))
    inputs, masks = _stacked_inputs(kept.inputs), _stacked_masks(kept.masks)
    stacked = own[0]._replace(inputs=inputs, masks=masks), *own[1:]
    gradient = _call_backward(kernels, 2, stacked, (False, True), kept, d_last, d_hs)
    return gradient._replace(xs=gradient.xs.sum(0))


def _plain_both(
    params: GRUParams, xs: Array, h0: Array, reset_state: Array, masks: Masks, _: bool
) -> tuple[Array, Array]:
    arguments = Inputs(params, xs, h0, reset_state), masks
    stacked = _stacked_inputs(arguments[0]), _stacked_masks(masks)

    def walk(index: int) -> tuple[Array, Array]:
        inputs, its_masks = jax.tree.map(
            lambda leaf, own: leaf[index] if own else leaf, arguments, stacked
        )
        return plain.run(
            inputs.params, inputs.xs, inputs.h0, inputs.reset_state, its_masks, index == 1
        )

    return jax.tree.map(lambda *pair: jnp.stack(pair), walk(0), walk(1))


def _stacked_inputs(inputs: Inputs) -> Inputs:
    """Which leaves two walks have each for itself."""
    return jax.tree.map(lambda _: True, inputs)._replace(xs=False)


def _stacked_masks(masks: Masks) -> Masks:
    def unless_absent(mask: Array | None, is_own: bool) -> Any:
        return None if mask is None else is_own

    return Masks(
        exists=unless_absent(masks.exists, False),
        starts=unless_absent(masks.starts, True),
        keeps=unless_absent(masks.keeps, True),
        zoneout=unless_absent(masks.zoneout, False),
        scale=unless_absent(masks.scale, True),
    )


def _call_forward(
    kernels: Kernels,
    models: int | None,
    stacked: Any,  # as (inputs, masks): which leaves have a leading axis of models
    reverse: tuple[bool, bool],
    keep_gates: bool,
    *arguments: Any,
) -> Outputs:
    leaves, structure = jax.tree.flatten(arguments)
    h_last, hs, *gates = bind(
        forward_p,
        leaves,
        structure=structure,
        models=models,
        stacked=tuple(jax.tree.leaves(stacked)),
        reverse=reverse,
        keep_gates=keep_gates,
        kernels=kernels,
    )
    product = (None,) * (not arguments[0].params.reset_after)
    return h_last, hs, Gates(*gates, *product) if keep_gates else None


def _call_backward(
    kernels: Kernels,
    models: int | None,
    stacked: Any,
    reverse: tuple[bool, bool],
    kept: Kept,
    *cotangents: Array,
) -> Inputs:
    leaves, structure = jax.tree.flatten((kept, *cotangents))
    gradient = bind(
        backward_p,
        leaves,
        structure=structure,
        models=models,
        stacked=tuple(jax.tree.leaves(stacked)),
        reverse=reverse,
        keep_gates=False,
        kernels=kernels,
    )
    return jax.tree.unflatten(jax.tree.structure(kept.inputs), gradient)
