"""CartPole and Pendulum as POPGym has them: the positions alone are seen, or all of the state.

The physics are those of Gymnasium. An episode that reaches the time limit is truncated, and the
best possible return is 1 (CartPole), or a little less (Pendulum).
"""

from dataclasses import dataclass
from math import pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.memory_rl.environments.interface import Environment, Step


class Body(NamedTuple):
    """The state of either."""

    position: Array  # [2]: x and the angle; Pendulum: [1], the angle, which is 0 upright
    velocity: Array  # [2] or [1]
    step: Array  # [] int32


@dataclass(frozen=True)
class CartPole(Environment):
    """Push a cart left (0) or right (1) so that the pole on it does not fall."""

    max_steps: int = 200
    full: bool = False  # also show the velocities
    num_actions = 2
    truncates = True
    optimum = 1.0

    @property
    def observation_size(self) -> int:
        """The position and the angle, and their velocities if `full`."""
        return 4 if self.full else 2

    @property
    def observation_scale(self) -> np.ndarray:
        """Typical values in an episode."""
        return np.array([1.0, 0.1, 1.0, 1.0], np.float32)[: self.observation_size]

    def draw(self, key: Array) -> Array:
        """Draws x, its velocity, the angle and its velocity: [4], as Gymnasium orders them."""
        return jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)

    def begin(self, drawn: Array) -> tuple[Body, Array]:
        """Starts close to the upright position."""
        state = Body(drawn[::2], drawn[1::2], jnp.int32(0))
        return state, self._observe(state)

    def step(self, key: Array, state: Body, action: Array) -> Step:
        """Pushes for 20 ms."""
        theta, theta_velocity = state.position[1], state.velocity[1]
        force = jnp.where(action == 1, 10.0, -10.0)
        cosine, sine = jnp.cos(theta), jnp.sin(theta)
        push = (force + 0.05 * theta_velocity**2 * sine) / 1.1
        angular = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
        acceleration = push - 0.05 * angular * cosine / 1.1
        position = state.position + 0.02 * state.velocity
        velocity = state.velocity + 0.02 * jnp.stack([acceleration, angular])
        state = Body(position, velocity, state.step + 1)
        fallen = jnp.any(jnp.abs(position) > jnp.array([2.4, 12 * 2 * pi / 360]))
        reward = jnp.float32(1 / self.max_steps)
        return Step(state, self._observe(state), reward, fallen, state.step >= self.max_steps)

    def _observe(self, state: Body) -> Array:
        return jnp.concatenate([state.position, state.velocity])[: self.observation_size]


@dataclass(frozen=True)
class Pendulum(Environment):
    """Swing a pendulum up by a torque in [−2, 2], and keep it there."""

    max_steps: int = 200
    full: bool = False  # also show the velocity
    num_actions = 0
    truncates = True

    @property
    def observation_size(self) -> int:
        """The cosine and the sine of the angle, and the velocity if `full`."""
        return 3 if self.full else 2

    @property
    def observation_scale(self) -> np.ndarray:
        """The velocity is at most 8."""
        return np.array([1.0, 1.0, 4.0], np.float32)[: self.observation_size]

    def draw(self, key: Array) -> Array:
        """Draws the angle and its velocity: [2]."""
        return jax.random.uniform(key, (2,), minval=-1.0) * jnp.array([pi, 1.0])

    def begin(self, drawn: Array) -> tuple[Body, Array]:
        """Starts anywhere."""
        state = Body(drawn[:1], drawn[1:], jnp.int32(0))
        return state, self._observe(state)

    def step(self, key: Array, state: Body, action: Array) -> Step:
        """Turns for 50 ms. The reward is in [−1, 1] / max_steps."""
        torque = jnp.clip(action, -2.0, 2.0)
        angle = (state.position[0] + pi) % (2 * pi) - pi
        cost = angle**2 + 0.1 * state.velocity[0] ** 2 + 0.001 * torque**2
        velocity = state.velocity + 0.05 * (15 * jnp.sin(state.position) + 3 * torque)
        velocity = jnp.clip(velocity, -8.0, 8.0)
        state = Body(state.position + 0.05 * velocity, velocity, state.step + 1)
        half = 16.2736044 / 2  # of the greatest cost
        reward = (half - cost) / half / self.max_steps
        is_late = state.step >= self.max_steps
        return Step(state, self._observe(state), reward, jnp.bool_(False), is_late)

    def _observe(self, state: Body) -> Array:
        seen = [jnp.cos(state.position), jnp.sin(state.position), state.velocity]
        return jnp.concatenate(seen)[: self.observation_size]
