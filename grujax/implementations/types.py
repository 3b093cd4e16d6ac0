"""What implementations take and return.

An implementation is a function of a list of `RecurrenceArgs`, of one recurrence or of two over the
same `xs`, that returns `(h_last, hs)` for each:

    h_last [B, H]     the state after the last step of the recurrence
    hs     [T, B, H]  the state after each step, zero where a step is not valid

`grujax.sequence.prepare_args` makes the arguments from those of `grujax.gru`. The kernels, the scan
and Newton's method are passes (`grujax.implementations.derivatives`), which also exchange the
primals, the residuals and the kept gates below.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax.jax_support.promotion import match_rank
from grujax.params import GRUParams

Implementation = Literal["plain", "scan", "native", "cuda", "tpu", "newton"]


class StepMasks(NamedTuple):
    """Where steps and units differ from a plain step, in the direction of the recurrence.

    None means nowhere. With the cell's z and n evaluated at the state m ∘ h, a step is

        u  = z + p·(1 − z)
        h' = h where kept, else u ∘ h + (1 − u) ∘ n

    where m is `recurrent_dropout_mask` and p is `zoneout_rate`.
    """

    valid: Array | None = None  # [T, B] bool: where false, h' = h and `hs` is zero
    restart: Array | None = None  # [T, B] bool: the state is set to `reset_state` before x_t
    kept: Array | None = None  # [T, B, H], or [T, B, 1] for all units, bool: where true, h' = h
    zoneout_rate: Array | None = None  # []: zoneout's expected share of kept units (evaluation)
    recurrent_dropout_mask: Array | None = None  # [B, H], at least float32: 0 or 1 / (1 − rate)

    @property
    def reads(self) -> Array | None:
        """`[T, B]` bool: which steps read their input, while no unit is kept alone; None: all."""
        if self.kept is None:
            return self.valid
        taken = ~self.kept[..., 0]
        return taken if self.valid is None else taken & self.valid

    def apply_recurrent_dropout(self, h: Array) -> Array:
        """The state as the gates see it, for `h [..., B, H]`."""
        mask = self.recurrent_dropout_mask
        return h if mask is None else (match_rank(mask, h) * h.astype(mask.dtype)).astype(h.dtype)

    def apply_zoneout(self, update: Array) -> Array:
        """The update gate with zoneout's expectation; 1 stays exactly 1."""
        return update if self.zoneout_rate is None else update + self.zoneout_rate * (1 - update)


class Primals(NamedTuple):
    """What a recurrence is differentiated with respect to; its gradient has this type too."""

    params: GRUParams
    xs: Array  # [T, B, I]
    h0: Array  # [B, H]
    reset_state: Array  # [B, H]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RecurrenceArgs:
    """The arguments of a recurrence: a pytree, all floating arrays of one dtype."""

    params: GRUParams
    xs: Array  # [T, B, I], zero where a step is not valid, or skipped
    h0: Array  # [B, H]
    reset_state: Array  # [B, H]: the state at a restart
    masks: StepMasks = StepMasks()  # noqa: RUF009 (immutable)
    reverse: bool = field(default=False, metadata={"static": True})  # run from T − 1 down to 0
    reset_states: Array | None = None  # [T, B, H]: in place of `reset_state`, one for each step

    def replace(self, **changes: Any) -> RecurrenceArgs:
        """A copy with other values of these fields."""
        return dataclasses.replace(self, **changes)

    @property
    def primals(self) -> Primals:
        """The fields that a recurrence is differentiated with respect to."""
        return Primals(self.params, self.xs, self.h0, self.reset_state)

    def with_primals(self, primals: Primals, **changes: Any) -> RecurrenceArgs:
        """A copy with other primals, and other values of the fields in `changes`."""
        return self.replace(**primals._asdict(), **changes)

    @property
    def in_time(self) -> tuple[Any, ...]:
        """What has a leading time axis: `xs`, three of the masks, and `reset_states`."""
        masks = self.masks
        return self.xs, masks.valid, masks.restart, masks.kept, self.reset_states

    def with_time(self, in_time: tuple[Any, ...]) -> RecurrenceArgs:
        """A copy with other arrays `in_time`."""
        xs, valid, restart, kept, reset_states = in_time
        masks = self.masks._replace(valid=valid, restart=restart, kept=kept)
        return self.replace(xs=xs, masks=masks, reset_states=reset_states)

    def map_time(self, f: Callable[..., Any], *others: RecurrenceArgs) -> RecurrenceArgs:
        """`f` applied to what has a time axis, as `jax.tree.map` over this and `others`."""
        return self.with_time(jax.tree.map(f, self.in_time, *(other.in_time for other in others)))

    def map_batch(self, f: Callable[[Any, int], Any]) -> RecurrenceArgs:
        """`f(array, axis)` applied to what has batch axes, of which `axis` is the first."""
        after_time = self.map_time(lambda leaf: f(leaf, 1))
        h0, reset_state, mask = jax.tree.map(
            lambda leaf: f(leaf, 0),
            (self.h0, self.reset_state, self.masks.recurrent_dropout_mask),
        )
        masks = after_time.masks._replace(recurrent_dropout_mask=mask)
        return after_time.replace(h0=h0, reset_state=reset_state, masks=masks)


class GateResiduals(NamedTuple):
    """The gates of one step or several, each `[..., B, H]`, in at least float32."""

    reset: Array
    update: Array  # before zoneout
    candidate: Array
    product: Array | None  # h·Whn + bhn, with reset_after only


class Residuals(NamedTuple):
    """What the forward pass saves for the derivatives."""

    args: RecurrenceArgs
    hs: Array  # [T, B, H]
    gates: GateResiduals | None  # [T, B, H] each; the derivatives recompute them if None


Outputs = tuple[Array, Array, GateResiduals | None]  # h_last [B, H], hs [T, B, H], kept gates


def expand_like(condition: Array, array: Array) -> Array:
    """`condition` with trailing axes of size 1, so that it broadcasts against `array`."""
    return condition.reshape(condition.shape + (1,) * (array.ndim - condition.ndim))


def zero_invalid(valid: Array | None, array: Array) -> Array:
    """`array [T, B, ...]` with zeros where `valid [T, B]` is false; None: nowhere."""
    return array if valid is None else jnp.where(expand_like(valid, array), array, 0)


def states_before(
    hs: Array,  # [T, B, H]
    first: Array,  # [B, H]: the state before the first step of the recurrence
    reset_state: Array,  # [B, H]
    restart: Array | None,  # [T, B] bool
    reverse: bool,
    time: int = 0,
) -> Array:
    """The states from which all steps start, `[T, B, H]`, from the states after them.

    `time` is the time axis of `hs`, `restart` and the result.
    """
    first, after_reset = (jnp.expand_dims(state, time) for state in (first, reset_state))
    begin, end = int(reverse), hs.shape[time] - int(not reverse)
    others = jax.lax.slice_in_dim(hs, begin, end, axis=time)
    before = jnp.concatenate([others, first] if reverse else [first, others], axis=time)
    return before if restart is None else jnp.where(restart[..., None], after_reset, before)
