"""A summary of gradient norms: where the gradient vanishes or explodes on its way back in time."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.sequence import make_valid_mask

VANISHED = 1e-3  # relative to the gradient where the loss enters; 1 / VANISHED means exploded


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GradientFlow:
    """How a gradient shrinks or grows on its way back in time; a pytree. `print` shows a summary.

    The L axis has one entry per layer and direction, from the bottom up. "Steps back" are counted
    against the order of processing, from the step where the loss first enters. Rows of the batch
    are combined by the root mean square.
    """

    norms: Array  # [L, T, B]: ‖∂L/∂h_t‖ over the hidden units, zero in the padding
    profile: Array  # [L, T]: the norm d steps before the end, relative to where the loss enters
    reaches_start: Array  # [L]: the fraction of the gradient that reaches the first step
    vanishes_after: Array  # [L] int: steps back until less than 1/1000 remains; −1 for never
    explodes_after: Array  # [L] int: steps back until it is 1000 times as large; −1 for never
    names: tuple[str, ...] = field(metadata={"static": True})  # names of the L entries

    def __str__(self) -> str:
        lines = []
        for index, name in enumerate(self.names):
            vanishes, explodes = int(self.vanishes_after[index]), int(self.explodes_after[index])
            verdict = f"neither vanishes nor explodes within {self.norms.shape[1]} steps"
            if vanishes >= 0 and not 0 <= explodes < vanishes:
                verdict = f"vanishes after ~{vanishes} steps"
            elif explodes >= 0:
                verdict = f"explodes after ~{explodes} steps"
            share = float(self.reaches_start[index])
            lines.append(f"{name}: {verdict}; {share:.2g} of it reaches the first step")
        return "\n".join(lines)


def summarize(norms: Array, is_reverse: dict[str, bool], lengths: ArrayLike | None) -> GradientFlow:
    """Summarizes `norms [L, T, B]`; `is_reverse` has the name and direction of each entry of L."""
    steps, batch = norms.shape[1], norms.shape[2:]
    lengths = jnp.full(batch, steps) if lengths is None else jnp.asarray(lengths)
    profiles, fractions = [], []
    for norm, reverse in zip(norms, is_reverse.values(), strict=True):
        profile, fraction = _steps_back(norm, lengths, reverse)
        profiles.append(profile)
        fractions.append(fraction)
    profile = jnp.stack(profiles)
    return GradientFlow(
        norms=norms,
        profile=profile,
        reaches_start=jnp.stack(fractions),
        vanishes_after=_first_after_entry(profile, profile < VANISHED),
        explodes_after=_first_after_entry(profile, profile > 1 / VANISHED),
        names=tuple(is_reverse),
    )


def _steps_back(norm: Array, lengths: Array, reverse: bool) -> tuple[Array, Array]:
    """Orders norms `[T, B]` by their distance from the step that each row processes last.

    Returns: the profile `[T]`, relative to where the loss enters, and the fraction `[]` of the
    gradient that reaches the step that is processed first.
    """
    steps = norm.shape[0]
    norm, lengths = norm.reshape(steps, -1), lengths.reshape(-1)
    exists = make_valid_mask(steps, lengths)
    distance = jnp.arange(steps)[:, None]
    time = distance if reverse else lengths - 1 - distance  # of the step at this distance
    back = jnp.where(exists, jnp.take_along_axis(norm, time.clip(0), axis=0), 0)
    entry = jnp.argmax(jnp.any(back > 0, axis=1))
    # Compare only rows that are long enough: a shorter row has not vanished.
    entered = jnp.where(exists, back[entry], 0)
    first = jnp.take_along_axis(back, (lengths - 1).clip(0)[None], axis=0)
    return stable_norm(back, axis=1) / stable_norm(entered, axis=1), stable_norm(
        first[0]
    ) / stable_norm(entered[entry])


def stable_norm(values: Array, axis: int = 0) -> Array:
    """The Euclidean norm, also of values so small that their squares underflow."""
    largest = jnp.max(jnp.abs(values), axis=axis, keepdims=True, initial=0)
    scale = jnp.where(largest > 0, largest, 1)
    return jnp.squeeze(scale, axis) * jnp.linalg.norm(values / scale, axis=axis)


def _first_after_entry(profile: Array, found: Array) -> Array:
    """`[L, T]` -> `[L]`: steps from where the loss enters to the first in `found`, or −1."""
    steps = jnp.arange(profile.shape[1])
    entry = jnp.argmax(profile > 0, axis=1)
    found = found & (steps > entry[:, None])
    return jnp.where(found.any(1), jnp.argmax(found, axis=1) - entry, -1)
