"""The 3-bit flip-flop task: remember the sign of the last pulse on each of three inputs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

BITS = 3


class Sequences(NamedTuple):
    """N sequences of T steps."""

    pulses: Array  # [N, T, 3]: −1, 0 or 1
    memory: Array  # [N, T, 3]: −1 or 1, the sign of the last pulse


def draw_sequences(key: Array, num: int, steps: int, pulse_rate: float) -> Sequences:
    """Draws random pulses; the first step has one on every input, so that the memory is defined."""
    sign_key, pulse_key = jax.random.split(key)
    signs = jax.random.rademacher(sign_key, (num, steps, BITS), jnp.float32)
    has_pulse = jax.random.bernoulli(pulse_key, pulse_rate, signs.shape).at[:, 0].set(True)
    last = jax.lax.cummax(jnp.where(has_pulse, jnp.arange(steps)[:, None], 0), axis=1)
    return Sequences(jnp.where(has_pulse, signs, 0), jnp.take_along_axis(signs, last, axis=1))
