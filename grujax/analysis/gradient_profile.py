"""A summary of gradient norms: where the gradient vanishes or explodes on its way back in time."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from grujax.analysis.numerics import stable_norm
from grujax.jax_support.pytrees import ArrayTree, register
from grujax.step_masks import make_valid_mask

VANISHED = 1e-3  # relative to the gradient where the loss enters; 1 / VANISHED means exploded
NEVER, UNKNOWN = -1, -2  # instead of a number of steps


@register
@dataclass(frozen=True, eq=False)
class GradientFlow(ArrayTree):
    """How a gradient shrinks or grows on its way back in time; a pytree. `print` shows a summary.

    The L axis has one entry per layer and direction, from the bottom up. "Steps back" are counted
    against the order of processing, from the step where the loss first enters. Rows of the batch
    are combined by the root mean square, so that a NaN in one row is a NaN of all. The profile is
    also NaN where there is nothing to compare: at steps that no row has, and in rows that the
    gradient has not entered.
    """

    norms: Array  #: [L, T, B]: ‖∂L/∂h_t‖ over the hidden units, zero in the padding
    profile: Array  #: [L, T]: the norm d steps before the end, relative to where the loss enters
    reaches_start: Array  #: [L]: the fraction of the gradient that reaches the first step
    #: [L] int: steps back until less than 1/1000 remains, and until it is 1000 times as large;
    #: −1 for never, −2 if a gradient on the way is NaN, or infinite where the loss enters
    vanishes_after: Array
    explodes_after: Array
    names: tuple[str, ...] = field(metadata={"static": True})  #: names of the L entries

    def __str__(self) -> str:
        lines = []
        for index, name in enumerate(self.names):
            vanishes, explodes = int(self.vanishes_after[index]), int(self.explodes_after[index])
            verdict = f"neither vanishes nor explodes within {self.norms.shape[1]} steps"
            if not self.norms[index].any():
                verdict = "receives no gradient"
            elif vanishes == UNKNOWN and explodes == UNKNOWN:
                verdict = "unknown, because a gradient is NaN or infinite"
            elif vanishes >= 0 and not 0 <= explodes < vanishes:
                verdict = f"vanishes after ~{vanishes} steps"
            elif explodes >= 0:
                verdict = f"explodes after ~{explodes} steps"
            share = float(self.reaches_start[index])
            lines.append(f"{name}: {verdict}; {share:.2g} of it reaches the first step")
        return "\n".join(lines)


def summarize(norms: Array, is_reverse: dict[str, bool], lengths: ArrayLike | None) -> GradientFlow:
    """Summarizes `norms [L, T, B]`; `is_reverse` has the name and direction of each entry of L."""
    steps, batch = norms.shape[1], norms.shape[2:]
    lengths = jnp.full(batch, steps) if lengths is None else make_valid_mask(steps, lengths).sum(0)
    summaries = [
        _steps_back(norm, lengths, reverse)
        for norm, reverse in zip(norms, is_reverse.values(), strict=True)
    ]
    profile, fraction, vanishes, explodes = (
        jnp.stack(values) for values in zip(*summaries, strict=True)
    )
    return GradientFlow(norms, profile, fraction, vanishes, explodes, tuple(is_reverse))


def _steps_back(norm: Array, lengths: Array, reverse: bool) -> tuple[Array, Array, Array, Array]:
    """Orders norms `[T, B]` by their distance from the step that each row processes last.

    Returns: the profile `[T]`, relative to where the loss enters; the fraction `[]` of the gradient
    that reaches the step that is processed first; and the steps `[]` until it vanishes or explodes.
    """
    steps = norm.shape[0]
    norm, lengths = norm.reshape(steps, -1), lengths.reshape(-1)
    exists = make_valid_mask(steps, lengths)
    distance = jnp.arange(steps)[:, None]
    time = distance if reverse else lengths[None] - 1 - distance  # of the step at this distance
    back = jnp.where(exists, jnp.take_along_axis(norm, time.clip(0), axis=0), 0)
    entry = jnp.argmax(jnp.any(back != 0, axis=1))  # NaN is not 0
    # Compare only rows that are long enough: a shorter row has not vanished.
    entered = jnp.where(exists, back[entry][None], 0)
    first = jnp.take_along_axis(back, (lengths - 1).clip(0)[None], axis=0)[0]
    remaining, whole = stable_norm(back, axis=1), stable_norm(entered, axis=1)
    profile = _ratio(remaining, whole)
    unknown = jnp.isnan(remaining) | ~jnp.isfinite(whole)

    def steps_until(found: Array) -> Array:
        """From where the loss enters to the first distance in `found [T]`."""
        found = (found | unknown) & (distance[:, 0] >= jnp.where(unknown, entry, entry + 1))
        index = jnp.argmax(found)
        answer = jnp.where(unknown[index], UNKNOWN, index - entry)
        return jnp.where(found.any(), answer, NEVER)

    return (
        profile,
        _ratio(stable_norm(first), whole[entry]),
        steps_until(profile < VANISHED),
        steps_until(profile > 1 / VANISHED),
    )


def _ratio(part: Array, whole: Array) -> Array:
    """NaN if the whole is zero or infinite: no part of those is known."""
    is_known = (whole > 0) & (whole < jnp.inf)
    return jnp.where(is_known, part / jnp.where(is_known, whole, 1), jnp.nan)
