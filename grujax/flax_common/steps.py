"""Single steps of the Flax layers, for acting and for generation.

`GRU.step` and `StackedGRU.step` of both APIs are `Steps.step`, a sequence of length 1. So a step
gives what the whole sequence gives.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from grujax.flax_common.checks import as_inputs
from grujax.time_checks import check_reset


class Steps:
    """The method `step` of layers."""

    def step(
        self: Any,
        x: ArrayLike,
        h: Any,
        reset: ArrayLike | None = None,
        *,
        reset_state: Any = None,
        deterministic: bool | None = None,
    ) -> tuple[Any, Any]:
        """Runs one step, as part of a sequence that is not known yet.

        Steps give what a call over the whole sequence gives, with `reset` at step t as `resets[t]`.
        With `carry_dtype`, `h` comes back in it, so that it fits the carry of a `lax.scan`. Random
        masks, those of a training mode, are drawn anew in each step.

        Args:
            x: `[B, I]`; B stands for any number of batch axes, none included.
            h: the state before the step, `h0` of a call; None is the initial state.
            reset: `[B]` bool: where true, the state is set to `reset_state` before `x` is consumed.
            reset_state: as in a call; None is the layer's own initial state: the learned one, or
                zeros.
            deterministic: as in a call.

        Returns:
            `(h, y)`: the new state, with lists and tuples as in `h`, and the output of the layer,
            `[B, H]`.

        Raises:
            ValueError: as a call, and if the layer, or one of its layers, runs backward in time.
        """
        check_runs_forward(self)
        x = as_inputs("x", x, "[B, I] or [I]")
        time = 0 if self.time_major else x.ndim - 1
        given = {"reset_state": reset_state, "deterministic": deterministic}
        if reset is not None:
            given["resets"] = jnp.expand_dims(check_reset(reset, x.shape[:-1]), time)
        given = {name: value for name, value in given.items() if value is not None}
        h, hs = self(jnp.expand_dims(x, time), h, **given)
        return h, jax.tree.map(lambda y: jnp.squeeze(y, time), hs)


def check_runs_forward(layer: Any) -> None:
    """Raises ValueError if a layer has a backward direction."""
    if layer._runs_backward():
        raise ValueError(
            f"This `{type(layer).__name__}` runs backward in time, which needs the whole sequence, "
            "so it has no steps and no carry. Call it with a sequence."
        )


def make_carry(learned_h0: Any, shape: tuple[Any, ...], dtype: DTypeLike) -> Any:
    """The states `[B, H]` before the first step, zero where `learned_h0`, or its item, is None."""
    if isinstance(learned_h0, list):
        return [make_carry(of_layer, shape, dtype) for of_layer in learned_h0]
    if learned_h0 is None:
        return jnp.zeros(shape, dtype)
    learned: Array = jnp.asarray(learned_h0)
    return jnp.broadcast_to(learned.astype(dtype), shape)
