"""What every implementation is given: a walk over a sequence."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from grujax.params import GRUParams


class Masks(NamedTuple):
    """What is special about steps and units, in the direction of the walk; None: nothing is.

    A step is, with the cell's z and n evaluated for the state scale ∘ h:

        u  = z + zoneout ∘ (1 − z)
        h' = h where keeps, else u ∘ h + (1 − u) ∘ n
    """

    exists: Array | None = None  # [T, B] bool: where false, h' = h, and `hs` is zero
    starts: Array | None = None  # [T, B] bool: the state is set to `reset_state` before x_t
    keeps: Array | None = None  # [T, B, H] bool: the unit keeps its state (zoneout in training)
    zoneout: Array | None = None  # []: the expected share of that (zoneout in evaluation)
    scale: Array | None = None  # [B, H], at least float32: recurrent dropout's mask / (1 − rate)

    def seen(self, h: Array) -> Array:
        """What the gates see of the state `h [..., B, H]`."""
        return h if self.scale is None else (self.scale * h).astype(h.dtype)

    def expected_update(self, update: Array) -> Array:
        """The update gate with zoneout's expectation; 1 stays 1 to the last bit."""
        return update if self.zoneout is None else update + self.zoneout * (1 - update)


class Walk(NamedTuple):
    """The arguments of an implementation, see `grujax.implementations`; all of one dtype."""

    params: GRUParams
    xs: Array  # [T, *B, I]
    h0: Array  # [*B, H]
    reset_state: Array  # [*B, H]
    masks: Masks
    reverse: bool


def match(condition: Array, array: Array) -> Array:
    """`condition`, with as many trailing axes of size 1 as it takes to broadcast to `array`."""
    return condition.reshape(condition.shape + (1,) * (array.ndim - condition.ndim))


def where_exists(exists: Array | None, array: Array) -> Array:
    """`array [T, B, ...]`, with zeros in the steps that do not exist."""
    return array if exists is None else jnp.where(match(exists, array), array, 0)
