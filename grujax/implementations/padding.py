"""Zero padding to the sizes that kernels take. Padded units have weights of zero and stay zero."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.implementations.types import RecurrenceArgs
from grujax.params import GRUParams


def pad_axis(array: Any, axis: int, size: int, value: float = 0) -> Array:
    """`array` with `size` entries on `axis`, the new ones `value`."""
    if array.shape[axis] == size:
        return array
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, size - array.shape[axis])
    return jnp.pad(array, widths, constant_values=value)


def pad_units(args: RecurrenceArgs, units: int) -> RecurrenceArgs:
    """All arrays with an axis of hidden units padded to this number of units.

    They may have any leading axes, such as one of models.
    """
    pad = partial(pad_axis, axis=-1, size=units)
    params, masks = args.params, args.masks
    of_all_units = masks.kept is None or masks.kept.shape[-1] == 1
    kept = masks.kept if of_all_units else pad(masks.kept)
    dropout_mask = jax.tree.map(pad, masks.recurrent_dropout_mask)
    return args.replace(
        params=GRUParams(
            w_x=pad(params.w_x),
            w_h=pad(pad_axis(params.w_h, -2, units)),
            b_x=pad(params.b_x),
            b_hn=pad(params.b_hn),
            reset_after=params.reset_after,
        ),
        h0=pad(args.h0),
        reset_state=pad(args.reset_state),
        masks=masks._replace(kept=kept, recurrent_dropout_mask=dropout_mask),
    )
