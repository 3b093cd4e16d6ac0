"""The calls of the Flax modules over time.

`GRU.__call__` in both APIs is `GRUCall.__call__` here, and likewise for the other modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from grujax.cell import gru_step, matmul_separately
from grujax.checks import (
    as_array,
    as_features,
    check_batch_axes,
)
from grujax.flax_common.checks import CHECKS, as_inputs
from grujax.implementations.layout import batch_major
from grujax.layers import bidirectional_gru, run_stack
from grujax.params import GRUParams
from grujax.sequence import gru


class GRUCall:
    """The call of a `GRU`."""

    def __call__(
        self: Any,
        xs: ArrayLike,
        h0: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        reset_state: ArrayLike | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Array, Array]:
        """Runs the layer over a batch of sequences.

        Args:
            xs: `[B, T, I]`, of a floating dtype; B stands for any number of batch axes, including
                none. Pass real and imaginary parts of complex inputs as separate features. With
                `time_major`, T comes first: `[T, B, I]`.
            h0: the initial state, broadcast against `[B, H]`. None means the learned state if
                there is one, and zeros otherwise.
            lengths: `[B]` integers, see `grujax.gru`.
            mask: `[B, T]` bool, or `[T, B]` with `time_major`: where false, the step is skipped,
                see `grujax.gru`.
            resets: `[B, T]` bool, or `[T, B]` with `time_major`, see `grujax.gru`.
            reset_state: the state at resets, see `grujax.gru`; if None, the layer's own initial
                state: the learned one, or zeros. A state for each step is `[B, T, H]`, or
                `[T, B, H]` with `time_major`.
            deterministic: whether to run in evaluation mode, if the module does not determine it.

        Returns:
            `(h_last [B, H], hs [B, T, H])`, or `hs [T, B, H]` with `time_major`, in `dtype`, or, if
            that is None, in the promoted dtype of `xs` and the parameters.

        Raises:
            ValueError: as `grujax.gru`.
        """
        function = partial(gru, reverse=self.reverse)
        given = {"mask": mask, "resets": resets}
        return run_layer(self, function, xs, (h0, reset_state), lengths, given, deterministic)


class BidirectionalGRUCall:
    """The call of a `BidirectionalGRU`."""

    def __call__(
        self: Any,
        xs: ArrayLike,
        h0: tuple[ArrayLike | None, ArrayLike | None] | None = None,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        reset_state: Any = None,
        deterministic: bool | None = None,
    ) -> tuple[tuple[Array, Array], Any]:
        """Runs both directions over a batch of sequences.

        Args:
            xs: `[B, T, I]`, or `[T, B, I]` with `time_major`, as in `GRU`.
            h0: `(forward, backward)`, each as in `GRU`; or None for both.
            lengths: `[B]` integers. The backward direction starts at each row's last valid step.
            mask: `[B, T]` bool, or `[T, B]` with `time_major`: where false, both directions skip
                the step, see `grujax.bidirectional_gru`.
            resets: `[B, T]` bool, or `[T, B]` with `time_major`, see `grujax.bidirectional_gru`.
            reset_state: `(forward, backward)`, each as in `GRU`; a number or one `[H]` for both.
            deterministic: see `GRU`.

        Returns:
            `((h_last_forward, h_last_backward), hs)`: `[B, H]` each, and `[B, T, 2H]` for "concat",
            or `[T, B, 2H]` with `time_major`; otherwise what `merge` returns, its time axis at the
            same place. The dtypes are those of `GRU`.

        Raises:
            ValueError: as `grujax.bidirectional_gru`.
        """
        function = partial(bidirectional_gru, merge=self.merge)
        given = {"mask": mask, "resets": resets}
        return run_layer(self, function, xs, (h0, reset_state), lengths, given, deterministic)


class StackedGRUCall:
    """The call of a `StackedGRU`."""

    def __call__(
        self: Any,
        xs: ArrayLike,
        h0: Any = None,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        reset_state: Any = None,
        deterministic: bool | None = None,
    ) -> tuple[list[Any] | tuple[Any, ...], Any]:
        """Runs the stack over a batch of sequences.

        Args:
            xs: `[B, T, I]`, or `[T, B, I]` with `time_major`, as in `GRU`.
            h0: a list or tuple with the structure of the returned `h_last`, or None. An item of
                None means what it means in `GRU`.
            lengths: `[B]` integers, see `grujax.gru`.
            mask: `[B, T]` bool, or `[T, B]` with `time_major`: where false, every layer skips the
                step, see `grujax.stacked_gru`.
            resets: `[B, T]` bool, or `[T, B]` with `time_major`, see `grujax.gru`.
            reset_state: a list like `h0`, or a number or one `[H]` for every layer. None, and an
                item of None, mean what they mean in `GRU`.
            deterministic: see `GRU`.

        Returns:
            `(h_last, hs)`: a list with the `h_last [B, H]` of each layer (a tuple if `h0` is one),
            or a pair of these if the layer has two directions, and the last layer's `hs [B, T, H]`
            (`[T, B, H]` with `time_major`), or what `merge` returns. With `return_all_layers` a
            list with the `hs` of each layer. The dtypes are those of `GRU`.

        Raises:
            ValueError: as `grujax.stacked_gru`.
        """
        every_layer = {"lengths": lengths, "mask": mask, "resets": resets}
        every_layer["deterministic"] = deterministic

        def call_layer(index: int, inputs: Any, state: Any, after_reset: Any) -> tuple[Any, Any]:
            options = {**every_layer, "reset_state": after_reset}
            given = {name: value for name, value in options.items() if value is not None}
            return self.layers[index](inputs, state, **given)

        return run_stack(
            call_layer,
            len(self.layers),
            xs,
            (h0, reset_state),
            dropout=self.dropout,
            residual=self.residual,
            key=self._dropout_key(CHECKS["deterministic"]("deterministic", deterministic)),
            return_all_layers=self.return_all_layers,
        )


def run_layer(
    module: Any,
    function: Callable[..., tuple[Any, Any]],
    xs: ArrayLike,
    states: tuple[Any, Any],
    lengths: ArrayLike | None,
    flags: Mapping[str, ArrayLike | None],
    deterministic: bool | None,
) -> tuple[Any, Any]:
    """Runs a time-major function of the core on the arrays of a module.

    Args:
        module: a module over time. `module._params_and_h0(input_size)` returns its parameters and
            its learned initial states, and `module._dropout_key(deterministic)` a random key or
            None.
        function: `gru` or `bidirectional_gru`, with arguments that the other lacks.
        xs: `[B, T, I]`, or `[T, B, I]` if the module is time-major.
        states: `(h0, reset_state)`, each a tree as `function` takes it, or None.
        lengths: `[B]` or None.
        flags: the arguments with one bool for each step, by name: `[B, T]`, or `[T, B]` if the
            module is time-major, or None.
        deterministic: the argument of the call.

    Returns:
        `(h_last, hs)` as `function` returns them, with `hs [B, T, H]`, or `[T, B, H]` if the module
        is time-major.

    Raises:
        ValueError: as `function`, and if `xs` has fewer than two axes or no features, a flag does
            not match, or `deterministic` is neither a bool nor None.
    """
    axes = "[T, B, I] or [T, I]" if module.time_major else "[B, T, I] or [T, I]"
    inputs = as_inputs("xs", xs, axes)
    deterministic = CHECKS["deterministic"]("deterministic", deterministic)
    time = 0 if module.time_major else inputs.ndim - 2
    h0, reset_state = states
    params, learned_h0 = module._params_and_h0(inputs.shape[-1])
    params, cast = cast_floating(module.dtype, params, inputs)
    if flags["resets"] is not None:
        reset_state = _prepare_reset_state(reset_state, learned_h0, inputs, time)
    with batch_major(not module.time_major):
        h_last, hs = function(
            params,
            jnp.moveaxis(cast, time, 0),
            fill_in_learned(h0, learned_h0),
            lengths=lengths,
            **{name: _time_first(name, flag, inputs, time) for name, flag in flags.items()},
            zoneout=module.zoneout,
            recurrent_dropout=module.recurrent_dropout,
            input_dropout=module.input_dropout,
            key=module._dropout_key(deterministic),
            stop_gradient_every=module.stop_gradient_every,
            implementation=module.implementation,
            reset_state=reset_state,
        )
    return cast_carry(module.carry_dtype, h_last), jax.tree.map(
        lambda leaf: jnp.moveaxis(leaf, 0, time), hs
    )


def _prepare_reset_state(reset_state: Any, learned_h0: Any, inputs: Array, time: int) -> Any:
    """`reset_state`, or a pair of these for two directions, with the time axis first if it has one.

    None becomes the learned initial state in its place, or zeros without one.
    """
    if isinstance(learned_h0, tuple):
        pair = [reset_state] * 2 if reset_state is None else reset_state
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            return pair
        both = zip(pair, learned_h0, strict=True)
        return [_prepare_reset_state(state, learned, inputs, time) for state, learned in both]
    if reset_state is None:
        return 0.0 if learned_h0 is None else learned_h0
    if isinstance(reset_state, tuple | list):
        reset_state = as_array("reset_state", reset_state)
    has_steps = time > 0 and getattr(reset_state, "ndim", 0) == inputs.ndim
    return jnp.moveaxis(reset_state, time, 0) if has_steps else reset_state


def _time_first(name: str, flags: ArrayLike | None, inputs: Array, time: int) -> Any:
    """`flags` with the time axis first; raises ValueError unless they match `inputs`."""
    if flags is None or time == 0:
        return flags
    array = as_array(name, flags)
    *batch, steps = inputs.shape[:-1]
    fits = min(2, inputs.ndim - 1) <= array.ndim < inputs.ndim and array.shape[-1] == steps
    if not fits or any(
        got not in (want, 1) for got, want in zip(array.shape[:-1], batch, strict=False)
    ):
        raise ValueError(
            f"`{name}` has shape {list(array.shape)} but the batch and time axes of `xs` are "
            f"{list(inputs.shape[:-1])}."
        )
    if isinstance(flags, np.ndarray):  # stays a value that `jit` knows
        return np.moveaxis(flags, -1, 0)
    return jnp.moveaxis(array, -1, 0)


def run_cell(dtype: DTypeLike | None, params: GRUParams, carry: Any, inputs: Any) -> Array:
    """Runs one step of a cell, whose arguments have Flax's names.

    Args:
        dtype: the dtype of the computation; None promotes `inputs` and `params`.
        params: the parameters of the cell.
        carry: `[B, H]`.
        inputs: `[B, I]`.

    Returns:
        The state after the step, `[B, H]`.

    Raises:
        ValueError: if a shape or dtype does not match.
    """
    inputs = as_features("inputs", inputs, params.input_size, "input size")
    carry = as_features("carry", carry, params.hidden_size, "hidden size")
    check_batch_axes({"carry": carry, "inputs": inputs})
    params, inputs = cast_floating(dtype, params, inputs)
    return gru_step(params, carry, inputs, matmul_separately)


def fill_in_learned(h0: Any, learned_h0: Any) -> Any:
    """Replaces each None in `h0` by the learned initial state in its place.

    Args:
        h0: a state `[B, H]`, a tuple or list of these for directions or layers, or None.
        learned_h0: the learned states `[H]` in the same structure; None where there is none.

    Returns:
        The initial states in the structure of `learned_h0`, with tuples and lists as in `h0`.
    """
    if h0 is None:
        return learned_h0
    sequence = (tuple, list)
    if isinstance(learned_h0, sequence) and isinstance(h0, sequence) and len(h0) == len(learned_h0):
        as_given = tuple if isinstance(h0, tuple) else list
        return as_given(fill_in_learned(*both) for both in zip(h0, learned_h0, strict=True))
    return h0


def cast_carry(carry_dtype: DTypeLike | None, h_last: Any) -> Any:
    """The states that a module returns, in `carry_dtype`; unchanged if it is None."""
    if carry_dtype is None:
        return h_last
    return jax.tree.map(lambda h: h.astype(carry_dtype), h_last)


def cast_floating(dtype: DTypeLike | None, params: Any, inputs: Array) -> tuple[Any, Array]:
    """Casts parameters and floating inputs to `dtype`; returns them unchanged if it is None."""
    if dtype is None:
        return params, inputs
    return jax.tree.map(lambda leaf: leaf.astype(dtype), (params, inputs))
