"""How far a loss's gradient reaches back in time: ‖∂L/∂h_t‖ for every step and layer.

The states inside a scan are not arguments, so a perturbation δ_t = 0 is added to each:

    h_t = cell(h_{t−1}, x_t) + δ_t        ∂L/∂h_t = ∂L/∂δ_t

This derivative is exact and total: it includes the layers above and all later steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.analysis.checks import (
    as_floating_leaves,
    check_function,
    check_next_state,
    check_scalar,
    check_steps,
)
from grujax.analysis.gradient_profile import GradientFlow, summarize
from grujax.analysis.numerics import stable_norm
from grujax.cell import gru_cell
from grujax.checks import as_array, check_bool
from grujax.layers import Layer, stacked_gru
from grujax.params import GRUParams
from grujax.sequence import gru, scan_cell
from grujax.time_checks import check_lengths


def gradient_flow(
    layers: GRUParams | Sequence[Layer],
    xs: ArrayLike,
    loss: Callable[[Any, Array], Array],
    h0: Any = None,
    *,
    lengths: ArrayLike | None = None,
    residual: bool = False,
) -> GradientFlow:
    """Measures the gradient of a loss with respect to every state, and how far back it reaches.

    Args:
        layers: `GRUParams`, or the layers of a stack as in `grujax.stacked_gru`.
        xs: `[T, B, I]`, at least one step.
        loss: `loss(h_last, hs) -> []`, a scalar function of what `grujax.gru` returns, or
            `grujax.stacked_gru` for a sequence of layers. A loss of `h_last` alone enters at the
            end; a loss that reads every state adds to the gradient at every step.
        h0: the initial state, as in `grujax.gru` or `grujax.stacked_gru`.
        lengths: `[B]`, see `grujax.gru`.
        residual: see `grujax.stacked_gru`.

    Returns:
        `GradientFlow`, in the dtype of the states.

    Raises:
        ValueError: as `grujax.stacked_gru` does, if there is no step, or if `loss` does not return
            a floating scalar.

    Example:
        >>> import grujax
        >>> params = grujax.init_gru(jax.random.key(0), input_size=3, hidden_size=6)
        >>> xs = jax.random.normal(jax.random.key(1), (100, 4, 3))
        >>> flow = gradient_flow(params, xs, lambda h_last, hs: h_last.sum())
        >>> print(flow)
        layer 0: vanishes after ~... steps; ... of it reaches the first step

    Reference:
        Pascanu, Mikolov & Bengio 2013, https://arxiv.org/abs/1211.5063
    """
    is_single = isinstance(layers, GRUParams)
    stack: Sequence[Layer] = [layers] if isinstance(layers, GRUParams) else layers
    initial = [h0] if is_single else h0
    residual = check_bool("residual", residual)
    check_function("loss", loss, "h_last, hs")
    xs = check_steps("xs", as_array("xs", xs))

    def last_states(xs):  # with all checks of the arguments, without computing
        return stacked_gru(stack, xs, initial, lengths=lengths, residual=residual)[0]

    h_last = jax.eval_shape(last_states, xs)
    deltas = jax.tree.map(lambda h: jnp.zeros((xs.shape[0], *h.shape), h.dtype), h_last)

    def perturbed_loss(deltas):
        h_last, hs = _perturbed_stack(stack, xs, initial, deltas, lengths, residual)
        return check_scalar("loss", loss(h_last[0] if is_single else h_last, hs))

    gradients = jax.grad(perturbed_loss)(deltas)
    norms = jnp.stack([stable_norm(gradient, axis=-1) for gradient in jax.tree.leaves(gradients)])
    is_reverse = {}
    for index, layer in enumerate(stack):
        is_pair = not isinstance(layer, GRUParams)
        for direction in ("forward", "backward") if is_pair else ("",):
            is_reverse[f"layer {index} {direction}".strip()] = direction == "backward"
    return summarize(norms, is_reverse, lengths)


def cell_gradient_flow(
    cell: Callable[[Any, Any, Array], Any],
    params: Any,
    xs: ArrayLike,
    state0: Any,
    loss: Callable[[Any, Any], Array],
    *,
    lengths: ArrayLike | None = None,
) -> GradientFlow:
    """Computes `gradient_flow` for any recurrent cell: an LSTM, a plain RNN, or your own.

    Args:
        cell: `cell(params, state, x) -> state`, as in `grujax.scan_cell`.
        params: passed to the cell unchanged.
        xs: `[T, B, I]`, at least one step.
        state0: the initial state, a pytree of floating `[B, ...]`.
        loss: `loss(state_last, states) -> []`, a scalar function of what `grujax.scan_cell`
            returns.
        lengths: `[B]`, see `grujax.gru`.

    Returns:
        `GradientFlow` with one entry, "cell". The norm is taken over all arrays of the state, such
        as h and c of an LSTM together.

    Raises:
        ValueError: as `grujax.scan_cell` does, if there is no step, if `state0` does not begin with
            the batch axes, if `cell` returns another structure or shape of the state, or if `loss`
            does not return a floating scalar.

    Example:
        >>> def leaky(rate, state, x):
        ...     return rate * state + x
        >>> flow = cell_gradient_flow(
        ...     leaky, 0.5, jnp.ones((20, 2, 3)), jnp.zeros((2, 3)), lambda last, states: last.sum()
        ... )
        >>> print(flow)
        cell: vanishes after ~10 steps; 1.9e-06 of it reaches the first step
    """
    check_function("cell", cell, "params, state, x", "state")
    check_function("loss", loss, "state_last, states")
    xs = check_steps("xs", as_array("xs", xs))
    steps, batch = xs.shape[0], xs.shape[1:-1]
    if lengths is not None:
        check_lengths(lengths, steps, batch)
    state0 = as_floating_leaves("state0", state0)
    for leaf in jax.tree.leaves(state0):
        if leaf.shape[: len(batch)] != batch:
            raise ValueError(
                f"`state0` holds an array of shape {list(leaf.shape)}, expected the leading axes "
                f"B = {list(batch)} of `xs`."
            )
    deltas = jax.tree.map(lambda leaf: jnp.zeros((steps, *leaf.shape), leaf.dtype), state0)

    def perturbed_loss(deltas):
        return check_scalar(
            "loss", loss(*_perturbed_scan(cell, params, xs, state0, deltas, lengths))
        )

    gradients = jax.tree.leaves(jax.grad(perturbed_loss)(deltas))
    flat = [
        gradient.reshape(steps, *batch, prod(gradient.shape[1 + len(batch) :]))
        for gradient in gradients
    ]
    norms = stable_norm(jnp.concatenate(flat, axis=-1), axis=-1)
    return summarize(norms[None], {"cell": False}, lengths)


def _perturbed_stack(
    stack: Sequence[Layer],
    xs: Array,
    h0: Sequence | None,
    deltas: list,
    lengths: ArrayLike | None,
    residual: bool,
) -> tuple[list, Array]:
    """`stacked_gru` with `deltas [T, B, H]` of each direction added to the states."""
    h_last: list[Any] = []
    for index, (layer, delta) in enumerate(zip(stack, deltas, strict=True)):
        start = None if h0 is None else h0[index]
        if isinstance(layer, GRUParams):
            last, hs = _perturbed_layer(layer, xs, start, delta, lengths)
            h_last.append(last)
        else:
            starts = (None, None) if start is None else start
            ahead, hs_ahead = _perturbed_layer(layer[0], xs, starts[0], delta[0], lengths)
            back, hs_back = _perturbed_layer(layer[1], xs, starts[1], delta[1], lengths, True)
            hs = jnp.concatenate([hs_ahead, hs_back], axis=-1)
            h_last.append((ahead, back))
        xs = xs + hs if residual and index > 0 else hs
    return h_last, xs


def _perturbed_layer(
    params: GRUParams,
    xs: Array,
    h0: ArrayLike | None,
    delta: Array,
    lengths: ArrayLike | None,
    reverse: bool = False,
) -> tuple[Array, Array]:
    start, _ = gru(params, xs[:0], h0)  # zero steps return the broadcast h0
    return _perturbed_scan(gru_cell, params, xs, start, delta, lengths, reverse)


def _perturbed_scan(
    cell: Callable[[Any, Any, Array], Any],
    params: Any,
    xs: Array,
    state0: Any,
    deltas: Any,
    lengths: ArrayLike | None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """`scan_cell` with `deltas` added to the states; they have a time axis before the state's."""

    def perturbed(params, state, x_and_delta):
        x, delta = x_and_delta
        after = cell(params, state, x)
        check_next_state(after, state)
        return jax.tree.map(jnp.add, after, delta)

    return scan_cell(perturbed, params, (xs, deltas), state0, lengths=lengths, reverse=reverse)
