"""What `grujax.linen` and `grujax.nnx` share: the calls of their modules over time.

`GRU.__call__` in both is `GRUCall.__call__` here, and likewise for the other modules. This file
does not import Flax.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from grujax.implementations.layout import batch_major
from grujax.layers import bidirectional_gru, stacked_gru
from grujax.sequence import gru


class GRUCall:
    """The call of a `GRU`."""

    def __call__(
        self: Any,
        xs: ArrayLike,
        h0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        reset_state: ArrayLike | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Array, Array]:
        """Runs the layer over a batch of sequences.

        Args:
            xs: `[B, T, I]`; B stands for any number of batch axes, including none.
            h0: the initial state, broadcast against `[B, H]`. None means the learned state if
                there is one, and zeros otherwise.
            lengths: `[B]` integers, see `grujax.gru`.
            resets: `[B, T]` bool, see `grujax.gru`.
            reset_state: the state after a reset, see `grujax.gru`.
            deterministic: whether to run in evaluation mode, if the module does not determine it.

        Returns:
            `(h_last [B, H], hs [B, T, H])` in `dtype`, or, if that is None, in the promoted dtype
            of `xs` and the parameters.

        Raises:
            ValueError: as `grujax.gru`.
        """
        function = partial(gru, reverse=self.reverse)
        states = h0, reset_state
        return run_layer(self, function, xs, states, lengths, resets, deterministic)


class BidirectionalGRUCall:
    """The call of a `BidirectionalGRU`."""

    def __call__(
        self: Any,
        xs: ArrayLike,
        h0: tuple[ArrayLike | None, ArrayLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        deterministic: bool | None = None,
    ) -> tuple[tuple[Array, Array], Array]:
        """Runs both directions over a batch of sequences.

        Args:
            xs: `[B, T, I]`; B stands for any number of batch axes, including none.
            h0: `(forward, backward)`, each as in `GRU`; or None for both.
            lengths: `[B]` integers. The backward direction starts at each row's last valid step.
            resets: `[B, T]` bool, see `grujax.bidirectional_gru`.
            deterministic: see `GRU`.

        Returns:
            `((h_last_forward, h_last_backward), hs)`: `[B, H]` each, and `[B, T, 2H]` for "concat",
            otherwise what `merge` returns. The dtypes are those of `GRU`.

        Raises:
            ValueError: as `grujax.bidirectional_gru`.
        """
        function = partial(bidirectional_gru, merge=self.merge)
        return run_layer(self, function, xs, (h0, None), lengths, resets, deterministic)


class StackedGRUCall:
    """The call of a `StackedGRU`."""

    def __call__(
        self: Any,
        xs: ArrayLike,
        h0: Any = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        reset_state: Any = None,
        deterministic: bool | None = None,
    ) -> tuple[list, Array]:
        """Runs the stack over a batch of sequences.

        Args:
            xs: `[B, T, I]`; B stands for any number of batch axes, including none.
            h0: a list with the structure of the returned `h_last`, or None. An item of None
                means what it means in `GRU`.
            lengths: `[B]` integers, see `grujax.gru`.
            resets: `[B, T]` bool, see `grujax.gru`.
            reset_state: a list like `h0`, see `grujax.stacked_gru`.
            deterministic: see `GRU`.

        Returns:
            `(h_last, hs)`: a list with the `h_last [B, H]` of each layer, or a pair of these if
            the layer has two directions, and the last layer's `hs [B, T, H]`, or what `merge`
            returns. The dtypes are those of `GRU`.

        Raises:
            ValueError: as `grujax.stacked_gru`.
        """
        function = partial(
            stacked_gru, merge=self.merge, dropout=self.dropout, residual=self.residual
        )
        states = h0, reset_state
        return run_layer(self, function, xs, states, lengths, resets, deterministic)


def run_layer(
    module: Any,
    function: Callable[..., tuple[Any, Array]],
    xs: ArrayLike,
    states: tuple[Any, Any],
    lengths: ArrayLike | None,
    resets: ArrayLike | None,
    deterministic: bool | None,
) -> tuple[Any, Array]:
    """Runs a time-major function of the core on batch-major arrays.

    Args:
        module: a module over time. `module.params_and_h0(input_size)` returns its parameters and
            its learned initial states, and `module._dropout_key(deterministic)` a random key or
            None.
        function: `gru`, `bidirectional_gru` or `stacked_gru`, with arguments that the others lack.
        xs: `[B, T, I]`.
        states: `(h0, reset_state)`, each a tree as `function` takes it, or None.
        lengths: `[B]` or None.
        resets: `[B, T]` or None.
        deterministic: the argument of the call.

    Returns:
        `(h_last, hs)` as `function` returns them, with `hs [B, T, H]`.

    Raises:
        ValueError: as `function`, and if `xs` has fewer than two axes or `resets` does not match.
    """
    inputs: Array = jnp.asarray(xs)
    if inputs.ndim < 2:
        raise ValueError(f"`xs` must have shape [B, T, I] or [T, I], got {list(inputs.shape)}.")
    if resets is not None:
        resets = jnp.asarray(resets)
        if resets.shape != inputs.shape[:-1]:
            raise ValueError(
                f"`resets` has shape {list(resets.shape)} but the batch and time axes of `xs` are "
                f"{list(inputs.shape[:-1])}."
            )
        resets = jnp.moveaxis(resets, -1, 0)
    h0, reset_state = states
    params, learned_h0 = module.params_and_h0(inputs.shape[-1])
    h0 = fill_in_learned(h0, learned_h0)
    params, inputs, h0, reset_state = cast_floating(module.dtype, params, inputs, h0, reset_state)
    key = module._dropout_key(deterministic)
    options = {} if reset_state is None else {"reset_state": reset_state}
    with batch_major():
        h_last, hs = function(
            params,
            jnp.moveaxis(inputs, -2, 0),
            h0,
            lengths=lengths,
            resets=resets,
            zoneout=module.zoneout,
            recurrent_dropout=module.recurrent_dropout,
            key=key,
            stop_gradient_every=module.stop_gradient_every,
            implementation=module.implementation,
            **options,
        )
    return h_last, jnp.moveaxis(hs, 0, -2)


def fill_in_learned(h0: Any, learned_h0: Any) -> Any:
    """Replaces each None in `h0` by the learned initial state in its place.

    Args:
        h0: a state `[B, H]`, a tuple or list of these for directions or layers, or None.
        learned_h0: the learned states `[H]` in the same structure; None where there is none.

    Returns:
        The initial states in the structure of `learned_h0`.
    """
    if h0 is None:
        return learned_h0
    sequence = (tuple, list)
    if isinstance(learned_h0, sequence) and isinstance(h0, sequence) and len(h0) == len(learned_h0):
        return type(h0)(fill_in_learned(*both) for both in zip(h0, learned_h0, strict=True))
    return h0


def cast_floating(dtype: DTypeLike | None, *trees: Any) -> Any:
    """Casts the floating leaves of `trees` to `dtype`; returns `trees` unchanged if it is None."""

    def cast_leaf(leaf: Any) -> Any:
        if dtype is None or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        return jnp.asarray(leaf, dtype)

    return jax.tree.map(cast_leaf, trees)
