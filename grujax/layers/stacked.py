"""A stack of layers, and what acts between them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import Array
from jax.typing import ArrayLike

from grujax.checks import (
    check_bool,
    check_instance,
    check_key,
    check_rate,
    check_sequence,
    describe,
)
from grujax.implementations import Implementation
from grujax.layers.bidirectional import bidirectional_gru, check_pair
from grujax.layers.merging import Merge, check_one_array, merge_function
from grujax.params import GRUParams
from grujax.regularizers import dropout as drop
from grujax.regularizers import is_off
from grujax.sequence import gru
from grujax.time_checks import serves_every_state

# One layer of a stack: one direction, or (forward, backward).
Layer = GRUParams | tuple[GRUParams, GRUParams]


def stacked_gru(
    layers: Sequence[Layer],
    xs: ArrayLike,
    h0: Sequence[Any] | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: Any = None,
    dropout: ArrayLike = 0.0,
    residual: bool = False,
    zoneout: ArrayLike = 0.0,
    recurrent_dropout: ArrayLike = 0.0,
    input_dropout: ArrayLike = 0.0,
    key: Array | None = None,
    merge: Merge = "concat",
    return_all_layers: bool = False,
    stop_gradient_every: int | None = None,
    implementation: Implementation | None = None,
) -> tuple[list[Any] | tuple[Any, ...], Any]:
    """A stack of GRU layers, each of one or two directions.

    Args:
        layers: a sequence; each item is a `GRUParams` or a pair (forward, backward).
        xs: `[T, B, I]`.
        h0: a sequence with the structure of the returned `h_last`; an item may be None.
        lengths: `[B]`, see `gru`.
        mask: `[T, B]` bool: where false, every layer skips the step, see `gru`.
        resets: `[T, B]` bool, see `gru`.
        reset_state: a sequence as `h0`, or a number or one `[H]` for every layer, see `gru`.
        dropout: the rate at which the inputs of every layer but the first are dropped, drawn anew
            at every step. Acts only with a `key`; without one the stack is in evaluation mode. May
            be traced. A stack of one layer has nothing to drop, and warns.
        residual: add the input of every layer but the first to its output (Wu et al. 2016, GNMT).
        zoneout: see `gru`; in every layer.
        recurrent_dropout: see `gru`; in every layer.
        input_dropout: see `gru`; in every layer, the first included.
        key: a JAX random key, from which each layer draws its own masks.
        merge: for layers of two directions, see `bidirectional_gru`; it returns one array if there
            is a layer above.
        return_all_layers: return the `hs` of all layers, not only of the top layer.
        stop_gradient_every: see `gru`; in every layer.
        implementation: see `gru`.

    Returns:
        `(h_last, hs)`: a list with the `h_last` of each layer (a tuple if `h0` is one), a pair
        where it has two directions, and the top layer's `hs`, or with `return_all_layers` a list
        with the `hs` of each layer, as the layer above reads it before dropout: `[T, B, H]`, or
        what `merge` returns.

    Raises:
        ValueError: as `gru`; and for no layers, a rate outside [0, 1), an `h0` of another length,
            or a residual between unequal widths.

    Example:
        >>> import jax.numpy as jnp
        >>> from grujax import init_gru
        >>> keys = jax.random.split(jax.random.key(0))
        >>> layers = [init_gru(keys[0], 8, 16), init_gru(keys[1], 16, 16)]
        >>> h_last, hs = stacked_gru(layers, jnp.ones((20, 4, 8)), residual=True)
        >>> len(h_last), hs.shape
        (2, (20, 4, 16))
    """
    _check_layers(layers)
    merge_function(merge)
    shared: dict[str, Any] = {
        "lengths": lengths,
        "mask": mask,
        "resets": resets,
        "zoneout": zoneout,
        "recurrent_dropout": recurrent_dropout,
        "input_dropout": input_dropout,
        "stop_gradient_every": stop_gradient_every,
        "implementation": implementation,
    }

    def run_layer(index: int, inputs: Any, state: Any, after_reset: Any) -> tuple[Any, Any]:
        layer = layers[index]
        layer_key = None if key is None else jax.random.fold_in(key, len(layers) + index)
        if isinstance(layer, GRUParams):
            return gru(layer, inputs, state, reset_state=after_reset, key=layer_key, **shared)
        options = {**shared, "reset_state": after_reset, "key": layer_key}
        return bidirectional_gru(layer, inputs, state, merge=merge, **options)

    return run_stack(
        run_layer,
        len(layers),
        xs,
        (h0, reset_state),
        dropout=dropout,
        residual=residual,
        key=key,
        return_all_layers=return_all_layers,
    )


def run_stack(
    run_layer: Callable[[int, Any, Any, Any], tuple[Any, Any]],
    num_layers: int,
    xs: Any,
    states: tuple[Any, Any],
    *,
    dropout: ArrayLike,
    residual: bool,
    key: Array | None,
    return_all_layers: bool,
) -> tuple[list[Any] | tuple[Any, ...], Any]:
    """Runs one layer after the other, with what acts between them.

    Args:
        run_layer: `(index, inputs, h0, reset_state) -> (h_last, hs)`, the layers.
        num_layers: how many.
        xs: the inputs of the first layer; time and batch axes in any order.
        states: `(h0, reset_state)`, each as in `stacked_gru`.
        dropout: as in `stacked_gru`.
        residual: as in `stacked_gru`.
        key: as in `stacked_gru`.
        return_all_layers: as in `stacked_gru`.

    Returns:
        `(h_last, hs)`, as `stacked_gru`.

    Raises:
        ValueError: as `stacked_gru`.
    """
    check_rate("dropout", dropout)
    residual = check_bool("residual", residual)
    return_all_layers = check_bool("return_all_layers", return_all_layers)
    if key is not None:
        check_key("key", key)
    _warn_of_idle_dropout(num_layers, dropout)
    h0, reset_state = states
    as_given = tuple if isinstance(h0, tuple) else list
    h0 = _check_states("h0", h0, num_layers)
    if reset_state is None or serves_every_state(reset_state):
        reset_state = [reset_state] * num_layers
    reset_state = _check_states("reset_state", reset_state, num_layers)
    h_last: list[Any] = []
    outputs: list[Any] = []
    for index in range(num_layers):
        inputs = below = outputs[-1] if index else xs
        if key is not None and index > 0:
            inputs = drop(jax.random.fold_in(key, index), below, dropout)
        last, hs = run_layer(index, inputs, h0[index], reset_state[index])
        if index < num_layers - 1:
            check_one_array(hs)
        h_last.append(last)
        outputs.append(_add_residual(index, below, hs) if residual and index > 0 else hs)
    return as_given(h_last), outputs if return_all_layers else outputs[-1]


def _warn_of_idle_dropout(num_layers: int, dropout: ArrayLike) -> None:
    if num_layers == 1 and not is_off(dropout):
        warnings.warn(
            "`dropout` acts between the layers of a stack, and this one has a single layer. "
            "`input_dropout` acts on the inputs of every layer.",
            stacklevel=4,
        )


def _add_residual(index: int, xs: Array, hs: Array) -> Array:
    if xs.shape != hs.shape:
        raise ValueError(
            f"`residual` needs equal widths, but layer {index} maps {xs.shape[-1]} to "
            f"{hs.shape[-1]}."
        )
    return xs + hs


def _check_layers(layers: Sequence[Layer]) -> None:
    check_sequence("layers", layers, "GRUParams or pairs of them")
    for index, layer in enumerate(layers):
        if not isinstance(layer, GRUParams):
            for params in check_pair(f"layers[{index}]", layer):
                check_instance(f"layers[{index}]", params, GRUParams)


def _check_states(name: str, states: Any, num_layers: int) -> Sequence[Any]:
    """One state for each layer, or None for each."""
    if states is None:
        return [None] * num_layers
    if not isinstance(states, (tuple, list)) or len(states) != num_layers:
        raise ValueError(
            f"`{name}` must have the structure of the stack's h_last, a list of {num_layers}, got "
            f"{describe(states)}."
        )
    return states
