"""What every environment is: a pure `reset` and a pure `step`, without automatic resets."""

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array


class Step(NamedTuple):
    """What follows an action."""

    state: Any
    observation: Array  # [observation_size]; of the last state if the episode ends
    reward: Array  # [] float32
    terminated: Array  # [] bool: the task has ended, and no reward can follow
    truncated: Array  # [] bool: a time limit cut the episode, and reward would have followed


class Environment:
    """One environment; `jax.vmap` runs many.

    `reset(key) -> (state, observation)` is `begin(draw(key))`: everything random about a start is
    drawn first, so that a test can begin an episode of another implementation.
    """

    observation_size: int
    num_actions: int  # of a discrete action; 0: the action is one real number
    max_steps: int  # of an episode
    truncates: ClassVar[bool] = False  # whether a step can be truncated
    optimum: float | None = None  # the best possible mean return, where it is known

    @property
    def observation_scale(self) -> np.ndarray:
        """[observation_size]: typical magnitudes, by which a network divides the observation."""
        return np.ones(self.observation_size, np.float32)

    def draw(self, key: Array) -> Any:
        """Draws everything that is random about the start of an episode."""
        raise NotImplementedError

    def begin(self, drawn: Any) -> tuple[Any, Array]:
        """The first state and observation [observation_size]."""
        raise NotImplementedError

    def reset(self, key: Array) -> tuple[Any, Array]:
        """Begins a random episode. Returns: the state, and the observation [observation_size]."""
        return self.begin(self.draw(key))

    def step(self, key: Array, state: Any, action: Array) -> Step:
        """Takes an action: an integer [], or a real number []."""
        raise NotImplementedError


def signed(correct: Array, scale: float) -> Array:
    """The reward of an answer: `scale` if it is correct, and −`scale` otherwise."""
    return jnp.where(correct, scale, -scale).astype(jnp.float32)
