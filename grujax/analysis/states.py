"""The states of a layer at every step, and the inputs of each layer of a stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.checks import as_array, check_bool
from grujax.jax_support.pytrees import register
from grujax.layers import Layer, stacked_gru
from grujax.params import GRUParams
from grujax.sequence import gru
from grujax.step_masks import make_valid_mask
from grujax.time_checks import check_lengths

Cell = Callable[[Any, Array, Array], Array]  # (params, h [H], x [I]) -> [H]


@register
class VisitedStates(NamedTuple):
    """The input and the states of a layer at every step."""

    xs: Array  # [T, B, I], zero in the padding
    before: Array  # [T, B, H], the state before the step
    after: Array  # [T, B, H], the state after the step, zero in the padding
    exists: Array  # [T, B] bool: whether the step is not padding


def visit_states(
    params: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None,
    lengths: ArrayLike | None,
    reverse: bool,
) -> VisitedStates:
    """Runs a layer; the arguments and errors are those of `grujax.gru`."""
    reverse = check_bool("reverse", reverse)
    _, hs = gru(params, xs, h0, lengths=lengths, reverse=reverse)
    xs = as_array("xs", xs)
    start, _ = gru(params, xs[:0], h0)  # zero steps return the broadcast h0
    steps, exists = len(hs), checked_steps(xs, lengths)
    if reverse:
        # A row starts with h0 at its last existing step, where the next step does not exist.
        after_next = jnp.where(exists[1:, ..., None], hs[1:], start)
        before = jnp.concatenate([after_next, start[None]])[:steps]
    else:
        before = jnp.concatenate([start[None], hs[:-1]])[:steps]
    return VisitedStates(jnp.where(exists[..., None], xs, 0), before, hs, exists)


def checked_steps(xs: Array, lengths: ArrayLike | None) -> Array:
    """`[T, B]` bool: which steps of `xs [T, B, I]` exist; checks `lengths` as `gru` does."""
    batch = xs.shape[1:-1]
    if lengths is None:
        return jnp.ones((len(xs), *batch), bool)

    return make_valid_mask(len(xs), check_lengths(lengths, len(xs), batch))


def layer_inputs(
    layers: Sequence[Layer],
    xs: ArrayLike,
    h0: Sequence[Any] | None = None,
    *,
    lengths: ArrayLike | None = None,
    residual: bool = False,
) -> list[Array]:
    """The inputs of each layer of a stack, for analyzing one layer by itself.

    Args:
        layers: as in `grujax.stacked_gru`: each a `GRUParams` or a pair (forward, backward).
        xs: `[T, B, I]`.
        h0: a sequence with one item per layer, or None.
        lengths: `[B]`, see `grujax.gru`.
        residual: as in `grujax.stacked_gru`.

    Returns:
        A list with one `[T, B, I]` per layer; the first is `xs`. Both directions of a pair have the
        same inputs; analyze the backward one with `reverse=True`.

    Raises:
        ValueError: as `grujax.stacked_gru` does.

    Example:
        >>> import jax, grujax
        >>> layers = [grujax.init_gru(jax.random.key(i), size, 6) for i, size in enumerate((3, 6))]
        >>> [x.shape for x in layer_inputs(layers, jnp.ones((5, 2, 3)))]
        [(5, 2, 3), (5, 2, 6)]
    """
    residual = check_bool("residual", residual)
    stacked_gru(layers, xs, h0, lengths=lengths, residual=residual)  # for its checks
    inputs = [as_array("xs", xs)]
    for index, layer in enumerate(layers[:-1]):
        state = None if h0 is None else [h0[index]]
        _, hs = stacked_gru([layer], inputs[-1], state, lengths=lengths)
        inputs.append(hs + inputs[-1] if residual and index > 0 else hs)
    return inputs
