"""The memory chain of bsuite: one bit is shown, and asked for many steps later.

Reference: Osband et al. 2020, "Behaviour Suite for Reinforcement Learning",
https://arxiv.org/abs/1908.03568.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from experiments.memory_rl.environments.interface import Environment, Step, signed


class Chain(NamedTuple):
    """The state of a memory chain."""

    bit: Array  # [] int32: 0 or 1
    time: Array  # [] int32


@dataclass(frozen=True)
class MemoryChain(Environment):
    """After `memory_length` steps, name the bit of the beginning: +1 if right, −1 if wrong.

    The observation is the time that remains, which bit is asked for (0: there is one), and the bit
    as −1 or 1 at the first two steps, as in gymnax; 0 at the others.
    """

    memory_length: int = 64
    observation_size = 3
    num_actions = 2
    optimum = 1.0

    @property
    def max_steps(self) -> int:
        """The last step answers."""
        return self.memory_length + 1

    def draw(self, key: Array) -> Array:
        """Draws the bit."""
        return jax.random.bernoulli(key).astype(jnp.int32)

    def begin(self, drawn: Array) -> tuple[Chain, Array]:
        """Shows the bit."""
        state = Chain(drawn, jnp.int32(0))
        return state, self._observe(state)

    def step(self, key: Array, state: Chain, action: Array) -> Step:
        """Rewards the last action; what is seen next is the state before the step."""
        is_last = state.time == self.memory_length
        reward = jnp.where(is_last, signed(action == state.bit, 1.0), 0.0)
        after = state._replace(time=state.time + 1)
        return Step(after, self._observe(state), reward, is_last, jnp.bool_(False))

    def _observe(self, state: Chain) -> Array:
        remaining = 1 - state.time / self.memory_length
        bit = jnp.where(state.time == 0, 2 * state.bit - 1, 0)
        return jnp.stack([remaining, jnp.zeros(()), bit]).astype(jnp.float32)
