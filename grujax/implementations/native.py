"""The recurrence in C++ on CPUs (`grujax.kernels`), and the scan wherever that cannot run.

Each pass is a primitive of JAX (`grujax.implementations.native_calls`), and how it runs falls in
its lowering. The derivation of the gradient stands in `grujax.implementations.scan`.

Threads take rows of the batch, each over all time, so that no thread ever waits for another inside
a step. Under `vmap` over parameters each takes whole models, and so do the two directions of a
bidirectional layer; under `vmap` over data alone, the mapped axis is one more axis of the batch.

Memory. Between the two passes as much as the scan keeps, by the same rule. While a pass runs, each
thread has about 128·(13·H + 3·I) floats for a chunk of time and the sums of its weights' gradients,
and there are two packed copies of the weights; XLA's memory analysis sees none of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax import kernels
from grujax.implementations import plain, scan
from grujax.implementations.gates import Gates
from grujax.implementations.masks import Masks, Walk
from grujax.implementations.native_calls import backward_p, forward_p
from grujax.implementations.native_rows import bind
from grujax.implementations.passes import (
    Inputs,
    Kept,
    Outputs,
    Passes,
    are_alike,
    run_both_passes,
    run_passes,
)
from grujax.params import GRUParams

DTYPES = ("float32", "bfloat16")


def run(
    params: GRUParams,
    xs: Array,  # [T, *B, I]
    h0: Array,  # [*B, H]
    reset_state: Array,  # [*B, H]
    masks: Masks,
    reverse: bool,
) -> tuple[Array, Array]:
    if xs.dtype.name not in DTYPES:
        raise ValueError(
            f'`implementation="native"` computes in {" or ".join(DTYPES)}, got {xs.dtype.name}: '
            '"scan" and "plain" take every dtype.'
        )
    return run_passes(_ONE, params, xs, h0, reset_state, masks, reverse)


def run_where_it_can(
    params: GRUParams, xs: Array, h0: Array, reset_state: Array, masks: Masks, reverse: bool
) -> tuple[Array, Array]:
    """The same, by the scan unless the kernel was built before and has the dtype."""
    chosen = run if _can_run(xs) else scan.run
    return chosen(params, xs, h0, reset_state, masks, reverse)


def run_both(
    run_one: Callable[..., tuple[Array, Array]], forward: Walk, backward: Walk
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Two walks over one `xs`, side by side where they are alike, else each by `run_one`."""
    if _can_run(forward.xs) and are_alike(forward, backward):
        return run_both_passes(_BOTH, forward, backward)
    return run_one(*forward), run_one(*backward)


def build() -> None:
    """Makes sure that the kernel can run; raises ValueError if it cannot."""
    try:
        kernels.build_and_load()
    except kernels.KernelError as error:
        raise ValueError(
            f'`implementation="native"` cannot run; "scan" and "plain" can. {error}'
        ) from error


def _can_run(xs: Array) -> bool:
    return xs.dtype.name in DTYPES and kernels.is_loaded()


# --- the passes of one walk, and of two side by side --------------------------------------------


def _forward(reverse: bool, keep_gates: bool, inputs: Inputs, masks: Masks) -> Outputs:
    shared = jax.tree.map(lambda _: False, (inputs, masks))
    return _call_forward(None, shared, (reverse, reverse), keep_gates, inputs, masks)


def _backward(reverse: bool, kept: Kept, d_last: Array, d_hs: Array) -> Inputs:
    shared = jax.tree.map(lambda _: False, (kept, d_last, d_hs))
    return _call_backward(None, shared, (reverse, reverse), kept, d_last, d_hs)


def _forward_both(_: bool, keep_gates: bool, inputs: Inputs, masks: Masks) -> Outputs:
    stacked = _stacked_inputs(inputs), _stacked_masks(masks)
    return _call_forward(2, stacked, (False, True), keep_gates, inputs, masks)


def _backward_both(_: bool, kept: Kept, d_last: Array, d_hs: Array) -> Inputs:
    own = jax.tree.map(lambda _: True, (kept, d_last, d_hs))
    inputs, masks = _stacked_inputs(kept.inputs), _stacked_masks(kept.masks)
    stacked = own[0]._replace(inputs=inputs, masks=masks), *own[1:]
    gradient = _call_backward(2, stacked, (False, True), kept, d_last, d_hs)
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
    )
    product = (None,) * (not arguments[0].params.reset_after)
    return h_last, hs, Gates(*gates, *product) if keep_gates else None


def _call_backward(
    models: int | None, stacked: Any, reverse: tuple[bool, bool], kept: Kept, *cotangents: Array
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
    )
    return jax.tree.unflatten(jax.tree.structure(kept.inputs), gradient)


_ONE = Passes(_forward, _backward, scan.pays_to_keep_gates)
_BOTH = Passes(_forward_both, _backward_both, scan.pays_to_keep_gates, _plain_both)
