"""A layer of two directions."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
from jax import Array
from jax.typing import ArrayLike

from grujax import implementations, meshes
from grujax.checks import check_key, describe
from grujax.implementations import Implementation
from grujax.implementations.types import RecurrenceArgs, zero_invalid
from grujax.layers.merging import Merge, check_merged, merge_function
from grujax.params import GRUParams, check_params
from grujax.regularizers import drop_inputs
from grujax.sequence import prepare_args
from grujax.time_checks import check_stop_gradient_every, serves_every_state


def bidirectional_gru(
    params: tuple[GRUParams, GRUParams],
    xs: ArrayLike,
    h0: tuple[ArrayLike | None, ArrayLike | None] | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: Any = None,
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
        reset_state: `(forward, backward)`, each as in `gru`; a number or one `[H]` for both.
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
        >>> import jax.numpy as jnp
        >>> from grujax import init_gru
        >>> keys = jax.random.split(jax.random.key(0))
        >>> pair = tuple(init_gru(key, input_size=8, hidden_size=16) for key in keys)
        >>> (h_forward, h_backward), hs = bidirectional_gru(pair, jnp.ones((20, 4, 8)))
        >>> h_forward.shape, hs.shape
        ((4, 16), (20, 4, 32))

    Reference:
        Schuster & Paliwal 1997, https://doi.org/10.1109/78.650093
    """
    combine = merge_function(merge)
    forward, backward = check_pair("params", params)
    check_params(forward)
    check_params(backward)
    states = (None, None) if h0 is None else check_pair("h0", h0)
    reset_states = split_pair(reset_state)
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
        zoneout=zoneout,
        recurrent_dropout=recurrent_dropout,
    )
    one, other = (
        drop_inputs(args, key, input_dropout)
        for args in (
            prepare(layer, xs, state, reset_state=after_reset, reverse=reverse, key=key_of_layer)
            for layer, state, after_reset, reverse, key_of_layer in zip(
                (forward, backward), states, reset_states, (False, True), keys, strict=True
            )
        )
    )
    (last_forward, hs_forward), (last_backward, hs_backward) = meshes.run_own_rows(
        run, [one, _share(one, other, key)]
    )
    hs = combine(hs_forward, hs_backward)
    if callable(merge):
        check_merged(hs, one.xs.shape[:-1])
        hs = jax.tree.map(partial(zero_invalid, one.masks.valid), hs)
    h_last: Any = (last_forward, last_backward)
    return (list(h_last) if isinstance(h0, list) else h_last), hs


def _share(one: RecurrenceArgs, other: RecurrenceArgs, key: Array | None) -> RecurrenceArgs:
    """`other` with the arrays of `one` that are the same: inputs, and masks that are not drawn."""
    if one.xs.dtype != other.xs.dtype:
        return other
    masks = other.masks._replace(valid=one.masks.valid, zoneout_rate=one.masks.zoneout_rate)
    if key is None:
        masks = masks._replace(kept=one.masks.kept)
    return other.replace(xs=one.xs, masks=masks)


def split_pair(reset_state: Any) -> tuple:
    """The `reset_state` of each direction: a number, or one array `[H]`, serves both."""
    if reset_state is None or serves_every_state(reset_state):
        return reset_state, reset_state
    return check_pair("reset_state", reset_state)


def check_pair(name: str, value) -> tuple:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"`{name}` must be a pair (forward, backward), got {describe(value)}.")
    return tuple(value)
