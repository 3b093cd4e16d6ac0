"""Layers of two directions and stacks of layers. Pure functions, time-major."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax import implementations, meshes
from grujax.checks import (
    check_bool,
    check_choice,
    check_instance,
    check_key,
    check_rate,
    check_sequence,
    describe,
)
from grujax.implementations import Implementation
from grujax.implementations.types import RecurrenceArgs, zero_invalid
from grujax.params import GRUParams, check_params
from grujax.regularizers import drop_inputs, is_off
from grujax.regularizers import dropout as drop
from grujax.sequence import gru, prepare_args
from grujax.time_checks import check_stop_gradient_every

# One layer of a stack: one direction, or (forward, backward).
Layer = GRUParams | tuple[GRUParams, GRUParams]
Merge = Literal["concat", "sum", "mean", "mul"] | Callable[[Array, Array], Any]

_MERGE: dict[str, Callable[[Array, Array], Array]] = {
    "concat": lambda forward, backward: jnp.concatenate([forward, backward], axis=-1),
    "sum": lambda forward, backward: forward + backward,
    "mean": lambda forward, backward: (forward + backward) / 2,
    "mul": lambda forward, backward: forward * backward,
}


def bidirectional_gru(
    params: tuple[GRUParams, GRUParams],
    xs: ArrayLike,
    h0: tuple[ArrayLike | None, ArrayLike | None] | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    merge: Merge = "concat",
    zoneout: ArrayLike = 0.0,
    recurrent_dropout: ArrayLike = 0.0,
    input_dropout: ArrayLike = 0.0,
    key: Array | None = None,
    stop_gradient_every: int | None = None,
    implementation: Implementation | None = None,
) -> tuple[tuple[Array, Array], Any]:
    """Two GRUs over the same sequence, one in each direction (Schuster & Paliwal 1997).

    Args:
        params: `(forward, backward)`, each `GRUParams`.
        xs: `[T, B, I]`.
        h0: `(forward, backward)`, each as in `gru`; zeros if None.
        lengths: `[B]`, see `gru`. The backward direction starts at each row's own last step.
        mask: `[T, B]` bool: where false, both directions skip the step, see `gru`.
        resets: `[T, B]` bool, see `gru`. Neither direction crosses the boundary of a segment.
        merge: how to combine the `hs` of the directions: "concat" (forward first), "sum", "mean",
            "mul", or a function of both. It returns an array `[T, B, ...]` or a pytree of these,
            which are set to zero in the padding: `lambda *both: both` gives both `hs`.
        zoneout: see `gru`.
        recurrent_dropout: see `gru`.
        input_dropout: see `gru`; both directions read the same inputs.
        key: a JAX random key, from which each direction draws its own masks of the state.
        stop_gradient_every: see `gru`.
        implementation: see `gru`.

    Returns:
        `((h_last_forward, h_last_backward), hs)`: `[B, H]` each, and `[T, B, 2H]` for "concat",
        else what `merge` returns. The backward `h_last` is the state after step 0.

    Raises:
        ValueError: as `gru`, and for an unknown `merge`, a `merge` that returns anything else, or
            directions whose sizes do not match.

    Example:
        >>> from grujax import init_gru
        >>> keys = jax.random.split(jax.random.key(0))
        >>> pair = tuple(init_gru(key, input_size=8, hidden_size=16) for key in keys)
        >>> (h_forward, h_backward), hs = bidirectional_gru(pair, jnp.ones((20, 4, 8)))
        >>> h_forward.shape, hs.shape
        ((4, 16), (20, 4, 32))

    Reference:
        Schuster & Paliwal 1997, https://doi.org/10.1109/78.650093
    """
    combine = _merge_function(merge)
    forward, backward = _pair("params", params)
    check_params(forward)
    check_params(backward)
    h0_forward, h0_backward = (None, None) if h0 is None else _pair("h0", h0)
    if merge in ("sum", "mean", "mul") and forward.hidden_size != backward.hidden_size:
        raise ValueError(
            f'`merge="{merge}"` needs directions of equal hidden size, got {forward.hidden_size} '
            f"forward and {backward.hidden_size} backward."
        )

    every = check_stop_gradient_every(stop_gradient_every)
    run = implementations.choose(implementation, every)
    keys = (None, None) if key is None else jax.random.split(check_key("key", key))
    prepare = partial(
        prepare_args,
        lengths=lengths,
        mask=mask,
        resets=resets,
        reset_state=None,
        zoneout=zoneout,
        recurrent_dropout=recurrent_dropout,
    )
    one, other = (
        drop_inputs(args, key, input_dropout)
        for args in (
            prepare(forward, xs, h0_forward, reverse=False, key=keys[0]),
            prepare(backward, xs, h0_backward, reverse=True, key=keys[1]),
        )
    )
    (last_forward, hs_forward), (last_backward, hs_backward) = meshes.run_own_rows(
        run, [one, _share(one, other, key)]
    )
    hs = combine(hs_forward, hs_backward)
    if callable(merge):
        _check_merged(hs, one.xs.shape[:-1])
        hs = jax.tree.map(partial(zero_invalid, one.masks.valid), hs)
    return (last_forward, last_backward), hs


def stacked_gru(
    layers: Sequence[Layer],
    xs: ArrayLike,
    h0: Sequence[Any] | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: Sequence[Any] | None = None,
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
) -> tuple[list, Any]:
    """A stack of GRU layers, each of one or two directions.

    Args:
        layers: a sequence; each item is a `GRUParams` or a pair (forward, backward).
        xs: `[T, B, I]`.
        h0: a sequence with the structure of the returned `h_last`; an item may be None.
        lengths: `[B]`, see `gru`.
        mask: `[T, B]` bool: where false, every layer skips the step, see `gru`.
        resets: `[T, B]` bool, see `gru`.
        reset_state: a sequence as `h0`, see `gru`; for layers of one direction.
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
        `(h_last, hs)`: a list with the `h_last` of each layer, a pair where it has two directions,
        and the top layer's `hs`, or with `return_all_layers` a list with the `hs` of each layer, as
        the layer above reads it before dropout: `[T, B, H]`, or what `merge` returns.

    Raises:
        ValueError: as `gru`; and for no layers, a rate outside [0, 1), an `h0` of another length,
            or a residual between unequal widths.

    Example:
        >>> from grujax import init_gru
        >>> keys = jax.random.split(jax.random.key(0))
        >>> layers = [init_gru(keys[0], 8, 16), init_gru(keys[1], 16, 16)]
        >>> h_last, hs = stacked_gru(layers, jnp.ones((20, 4, 8)), residual=True)
        >>> len(h_last), hs.shape
        (2, (20, 4, 16))
    """
    _check_layers(layers)
    _merge_function(merge)
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
        check_directions(after_reset)
        return bidirectional_gru(layer, inputs, state, merge=merge, key=layer_key, **shared)

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
) -> tuple[list, Any]:
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
    h0, reset_state = (
        _check_states(name, value, num_layers)
        for name, value in zip(("h0", "reset_state"), states, strict=True)
    )
    h_last: list[Any] = []
    outputs: list[Any] = []
    for index in range(num_layers):
        inputs = below = outputs[-1] if index else xs
        if key is not None and index > 0:
            inputs = drop(jax.random.fold_in(key, index), below, dropout)
        last, hs = run_layer(index, inputs, h0[index], reset_state[index])
        if index < num_layers - 1:
            _check_one_array(hs)
        h_last.append(last)
        outputs.append(_add_residual(index, below, hs) if residual and index > 0 else hs)
    return h_last, outputs if return_all_layers else outputs[-1]


def output_size(hidden_size: int, bidirectional: bool, merge: Merge) -> int:
    """The width of the `hs` of a layer, which is the input size of the layer above it."""
    if not bidirectional:
        return hidden_size
    hs = jax.ShapeDtypeStruct((1, 1, hidden_size), jnp.float32)  # [T, B, H]
    return _check_one_array(jax.eval_shape(_merge_function(merge), hs, hs)).shape[-1]


def _share(one: RecurrenceArgs, other: RecurrenceArgs, key: Array | None) -> RecurrenceArgs:
    """`other` with the arrays of `one` that are the same: inputs, and masks that are not drawn."""
    if one.xs.dtype != other.xs.dtype:
        return other
    masks = other.masks._replace(valid=one.masks.valid, zoneout_rate=one.masks.zoneout_rate)
    if key is None:
        masks = masks._replace(kept=one.masks.kept)
    return other.replace(xs=one.xs, masks=masks)


def _merge_function(merge: Merge) -> Callable[[Array, Array], Array]:
    if callable(merge):
        return merge
    return _MERGE[check_choice("merge", merge, tuple(_MERGE), other="a function")]


def _check_merged(merged: Any, leading: tuple[int, ...]) -> None:
    """Raises ValueError unless `merge` returned arrays with the leading axes T and B."""
    for leaf in jax.tree.leaves(merged) or [None]:
        if getattr(leaf, "shape", ())[: len(leading)] != leading:
            raise ValueError(
                "`merge` must return an array, or a pytree of arrays, with the leading axes "
                f"[T, B] = {list(leading)} of its arguments, got {describe(leaf)}."
            )


def _check_one_array(merged: Any) -> Any:
    """The `hs` of a layer below another; raises ValueError if `merge` returned several arrays."""
    if not hasattr(merged, "shape"):
        raise ValueError(
            f"`merge` must return one array for the layer above to read, got {describe(merged)}."
        )
    return merged


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


def _pair(name: str, value) -> tuple:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"`{name}` must be a pair (forward, backward), got {describe(value)}.")
    return tuple(value)


def _check_layers(layers: Sequence[Layer]) -> None:
    check_sequence("layers", layers, "GRUParams or pairs of them")
    for index, layer in enumerate(layers):
        if not isinstance(layer, GRUParams):
            for params in _pair(f"layers[{index}]", layer):
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


def check_directions(reset_state: Any) -> None:
    """Raises ValueError if there is a `reset_state` for a layer of two directions."""
    if reset_state is not None:
        raise ValueError(
            "`reset_state` is for layers of one direction: a backward direction starts at each "
            "row's own last step, from `h0`."
        )
