"""How far a loss's gradient reaches back in time: ‖∂L/∂h_t‖ for every step and layer.

The states inside a scan are no argument of anything, so a perturbation δ_t = 0 is added to each:

    h_t = cell(h_{t−1}, x_t) + δ_t        ∂L/∂h_t = ∂L/∂δ_t

This is the whole derivative, through the layers above and all later steps, and exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.cell import gru_cell
from grujax.layers import Layer, stacked_gru
from grujax.params import GRUParams
from grujax.sequence import existing_steps, gru, scan_cell

VANISHED = 1e-3  # of the gradient where the loss enters; 1/VANISHED is called exploded


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientFlow:
    """How a gradient fares on its way back in time, a pytree; `print` it for a summary.

    L counts layers, from the bottom, and both directions of a pair. "Steps back" count against the
    walk of each row, from the step where the loss first enters; rows are merged by the root of the
    mean square.
    """

    norms: Array  # [L, T, B]: ‖∂L/∂h_t‖ over the hidden units, zero in the padding
    profile: Array  # [L, T]: the norm d steps before the walk's end, relative to where L enters
    reaches_start: Array  # [L]: the share of the gradient that is left at the walk's first step
    vanishes_after: Array  # [L] int: steps back until less than 1/1000 is left; −1 for never
    explodes_after: Array  # [L] int: steps back until it is 1000 times as large; −1 for never
    names: tuple[str, ...] = field(metadata={"static": True})  # of the L rows

    def __str__(self) -> str:
        lines = []
        for index, name in enumerate(self.names):
            vanishes, explodes = int(self.vanishes_after[index]), int(self.explodes_after[index])
            verdict = f"neither vanishes nor explodes within {self.norms.shape[1]} steps"
            if vanishes >= 0 and not 0 <= explodes < vanishes:
                verdict = f"vanishes after ~{vanishes} steps"
            elif explodes >= 0:
                verdict = f"explodes after ~{explodes} steps"
            share = float(self.reaches_start[index])
            lines.append(f"{name}: {verdict}; {share:.2g} of it reaches the first step")
        return "\n".join(lines)


def gradient_flow(
    layers: GRUParams | Sequence[Layer],
    xs: ArrayLike,
    loss: Callable[[Any, Array], Array],
    h0: Any = None,
    *,
    lengths: ArrayLike | None = None,
    residual: bool = False,
) -> GradientFlow:
    """The norm of a loss's gradient by every state, and a summary of how far back it reaches.

    Args:
        layers: `GRUParams`, or the layers of a stack as in `grujax.stacked_gru`.
        xs: `[T, B, I]`, at least one step.
        loss: `loss(h_last, hs) -> []`, a scalar of what `grujax.gru` returns, or
            `grujax.stacked_gru` for a sequence of layers. With `h_last` alone it enters at the
            end; a loss that reads every state feeds the gradient anew at every step.
        h0: as `grujax.gru`, or `grujax.stacked_gru`, takes it.
        lengths: `[B]`, see `grujax.gru`.
        residual: see `grujax.stacked_gru`.

    Returns:
        `GradientFlow`.

    Raises:
        ValueError: as `grujax.stacked_gru`, or if there is no step.

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
    alone = isinstance(layers, GRUParams)
    stack: Sequence[Layer] = [layers] if isinstance(layers, GRUParams) else layers
    initial = [h0] if alone else h0
    xs = jnp.asarray(xs)
    if xs.ndim and not xs.shape[0]:
        raise ValueError("`xs` has no step, expected at least one.")
    h_last, _ = stacked_gru(stack, xs, initial, lengths=lengths, residual=residual)  # its checks
    deltas = jax.tree.map(lambda h: jnp.zeros((xs.shape[0], *h.shape), h.dtype), h_last)

    def perturbed_loss(deltas):
        h_last, hs = _perturbed_stack(stack, xs, initial, deltas, lengths, residual)
        return loss(h_last[0] if alone else h_last, hs)

    gradients = jax.grad(perturbed_loss)(deltas)
    norms = jnp.stack([_norm(gradient, axis=-1) for gradient in jax.tree.leaves(gradients)])
    walks = {}
    for index, layer in enumerate(stack):
        pair = not isinstance(layer, GRUParams)
        for direction in ("forward", "backward") if pair else ("",):
            walks[f"layer {index} {direction}".strip()] = direction == "backward"
    return _summarise(norms, walks, lengths)


def cell_gradient_flow(
    cell: Callable[[Any, Any, Array], Any],
    params: Any,
    xs: ArrayLike,
    state0: Any,
    loss: Callable[[Any, Any], Array],
    *,
    lengths: ArrayLike | None = None,
) -> GradientFlow:
    """`gradient_flow` of any recurrent cell: an LSTM, a plain RNN, one of your own.

    Args:
        cell: `cell(params, state, x) -> state`, as `grujax.scan_cell` takes it.
        params: handed to the cell as it is.
        xs: `[T, B, I]`, at least one step.
        state0: the initial state, a pytree of floating `[B, ...]`.
        loss: `loss(state_last, states) -> []`, a scalar of what `grujax.scan_cell` returns.
        lengths: `[B]`, see `grujax.gru`.

    Returns:
        `GradientFlow` with one row, "cell". The norm is that of the gradient by the whole state,
        over all arrays that it has: h and c of an LSTM together.

    Raises:
        ValueError: as `grujax.scan_cell`, or if there is no step.

    Example:
        >>> def leaky(rate, state, x):
        ...     return rate * state + x
        >>> flow = cell_gradient_flow(
        ...     leaky, 0.5, jnp.ones((20, 2, 3)), jnp.zeros((2, 3)), lambda last, states: last.sum()
        ... )
        >>> print(flow)
        cell: vanishes after ~10 steps; 1.9e-06 of it reaches the first step
    """
    xs = jnp.asarray(xs)
    if xs.ndim and not xs.shape[0]:
        raise ValueError("`xs` has no step, expected at least one.")
    steps, batch = xs.shape[0], xs.shape[1:-1]
    state0 = jax.tree.map(jnp.asarray, state0)
    deltas = jax.tree.map(lambda leaf: jnp.zeros((steps, *leaf.shape), leaf.dtype), state0)

    def perturbed_loss(deltas):
        return loss(*_perturbed_scan(cell, params, xs, state0, deltas, lengths))

    gradients = jax.tree.leaves(jax.grad(perturbed_loss)(deltas))
    flat = [gradient.reshape(steps, *batch, -1) for gradient in gradients]
    norms = _norm(jnp.concatenate(flat, axis=-1), axis=-1)
    return _summarise(norms[None], {"cell": False}, lengths)


def _perturbed_stack(
    stack: Sequence[Layer],
    xs: Array,
    h0: Sequence | None,
    deltas: list,
    lengths: ArrayLike | None,
    residual: bool,
) -> tuple[list, Array]:
    """`stacked_gru` with `deltas`, `[T, B, H]` for each direction, added to the states."""
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
    start, _ = gru(params, xs[:0], h0)  # no step: h0, broadcast
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
    """`scan_cell` with `deltas`, a leading time axis before the state's, added to the states."""

    def perturbed(params, state, x_and_delta):
        x, delta = x_and_delta
        return jax.tree.map(jnp.add, cell(params, state, x), delta)

    return scan_cell(perturbed, params, (xs, deltas), state0, lengths=lengths, reverse=reverse)


def _summarise(norms: Array, walks: dict[str, bool], lengths: ArrayLike | None) -> GradientFlow:
    """The flow of rows `norms [L, T, B]`; `walks` has the name of each, and whether in reverse."""
    steps, batch = norms.shape[1], norms.shape[2:]
    lengths = jnp.full(batch, steps) if lengths is None else jnp.asarray(lengths)
    profiles, shares = [], []
    for norm, reverse in zip(norms, walks.values(), strict=True):
        profile, share = _steps_back(norm, lengths, reverse)
        profiles.append(profile)
        shares.append(share)
    profile = jnp.stack(profiles)
    return GradientFlow(
        norms=norms,
        profile=profile,
        reaches_start=jnp.stack(shares),
        vanishes_after=_first_after_entry(profile, profile < VANISHED),
        explodes_after=_first_after_entry(profile, profile > 1 / VANISHED),
        names=tuple(walks),
    )


def _steps_back(norm: Array, lengths: Array, reverse: bool) -> tuple[Array, Array]:
    """`[T, B]` norms by distance from each row's end of the walk: the profile `[T]`, relative to
    where the loss enters, and the share `[]` that reaches the walk's first step."""
    steps = norm.shape[0]
    norm, lengths = norm.reshape(steps, -1), lengths.reshape(-1)
    exists = existing_steps(steps, lengths)
    distance = jnp.arange(steps)[:, None]
    time = distance if reverse else lengths - 1 - distance  # of the step so far back
    back = jnp.where(exists, jnp.take_along_axis(norm, time.clip(0), axis=0), 0)
    entry = jnp.argmax(jnp.any(back > 0, axis=1))
    # Of the rows that go back so far; a shorter row does not count as one that vanished.
    entered = jnp.where(exists, back[entry], 0)
    first = jnp.take_along_axis(back, (lengths - 1).clip(0)[None], axis=0)
    return _norm(back, axis=1) / _norm(entered, axis=1), _norm(first[0]) / _norm(entered[entry])


def _norm(values: Array, axis: int = 0) -> Array:
    """The Euclidean norm, of small values too, whose squares are zero in their dtype."""
    largest = jnp.max(jnp.abs(values), axis=axis, keepdims=True, initial=0)
    scale = jnp.where(largest > 0, largest, 1)
    return jnp.squeeze(scale, axis) * jnp.linalg.norm(values / scale, axis=axis)


def _first_after_entry(profile: Array, found: Array) -> Array:
    """`[L, T]` -> `[L]`: steps from the entry of the loss to the first that is found, or −1."""
    steps = jnp.arange(profile.shape[1])
    entry = jnp.argmax(profile > 0, axis=1)
    found = found & (steps > entry[:, None])
    return jnp.where(found.any(1), jnp.argmax(found, axis=1) - entry, -1)
