"""The states that a layer visits, and the inputs that each layer of a stack is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.layers import Layer, stacked_gru
from grujax.params import GRUParams
from grujax.sequence import existing_steps, gru, scan_cell


class VisitedStates(NamedTuple):
    """Every step of a layer: what goes into it and what comes out."""

    xs: Array  # [T, B, I], zero in the padding
    before: Array  # [T, B, H]: the state that the step starts from
    after: Array  # [T, B, H]: the state after it, zero in the padding
    exists: Array  # [T, B] bool


def visit_states(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None,
    lengths: ArrayLike | None,
    reverse: bool,
) -> VisitedStates:
    """Runs the layer; arguments and errors as in `grujax.gru`."""
    _, hs = gru(params, xs, h0, lengths=lengths, reverse=reverse)
    xs = jnp.asarray(xs)
    start, _ = gru(params, xs[:0], h0)  # no step: h0, broadcast
    steps, exists = len(hs), checked_steps(xs, lengths)
    if reverse:
        # A row's walk begins at its last existing step, so the step after that one gives h0.
        after_next = jnp.where(exists[1:, ..., None], hs[1:], start)
        before = jnp.concatenate([after_next, start[None]])[:steps]
    else:
        before = jnp.concatenate([start[None], hs[:-1]])[:steps]
    return VisitedStates(jnp.where(exists[..., None], xs, 0), before, hs, exists)


def checked_steps(xs: Array, lengths: ArrayLike | None) -> Array:
    """`[T, B]` bool: which steps exist of `xs [T, B, I]`; `lengths` is checked as by `gru`."""
    batch = xs.shape[1:-1]
    if lengths is None:
        return jnp.ones((len(xs), *batch), bool)

    def run(xs):
        return scan_cell(lambda _, state, x: state, None, xs, jnp.zeros(batch), lengths=lengths)

    jax.eval_shape(run, xs)
    return existing_steps(len(xs), lengths)


def at_least_float32(*trees: Any) -> tuple:
    """The floating leaves in at least float32: Jacobians and their QR have no bfloat16 form."""

    def cast(leaf):
        leaf = jnp.asarray(leaf)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))

    return jax.tree.map(cast, trees)


def layer_inputs(
    layers: Sequence[Layer],
    xs: ArrayLike,
    h0: Sequence[Any] | None = None,
    *,
    lengths: ArrayLike | None = None,
    residual: bool = False,
) -> list[Array]:
    """The inputs of each layer of a stack, with which one layer can be looked at by itself.

    Args:
        layers: as in `grujax.stacked_gru`: each a `GRUParams` or a pair (forward, backward).
        xs: `[T, B, I]`.
        h0: a sequence with one item a layer, or None.
        lengths: `[B]`, see `grujax.gru`.
        residual: as in `grujax.stacked_gru`.

    Returns:
        A list of `[T, B, I]`, one a layer; the first is `xs`. The directions of a pair share
        theirs; look at the backward one with `reverse=True`.

    Raises:
        ValueError: as `grujax.stacked_gru`.

    Example:
        >>> import grujax
        >>> layers = [grujax.init_gru(jax.random.key(i), size, 6) for i, size in enumerate((3, 6))]
        >>> [x.shape for x in layer_inputs(layers, jnp.ones((5, 2, 3)))]
        [(5, 2, 3), (5, 2, 6)]
    """
    stacked_gru(layers, xs, h0, lengths=lengths, residual=residual)  # its checks
    inputs = [jnp.asarray(xs)]
    for index, layer in enumerate(layers[:-1]):
        state = None if h0 is None else [h0[index]]
        _, hs = stacked_gru([layer], inputs[-1], state, lengths=lengths)
        inputs.append(hs + inputs[-1] if residual and index > 0 else hs)
    return inputs
