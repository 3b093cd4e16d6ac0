"""Environments of gymnax by an adapter: Umbrella Chain, Bernoulli Bandit and Meta Maze.

gymnax is in the extra `rl`. References: Osband et al. 2020, https://arxiv.org/abs/1908.03568;
Wang et al. 2016, https://arxiv.org/abs/1611.05763; Miconi et al. 2018,
https://arxiv.org/abs/1804.02464.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.memory_rl.environments.interface import Environment, Step


@dataclass(frozen=True, eq=False)
class GymnaxTask(Environment):
    """An environment of gymnax whose time limit is the end of the task, so nothing is truncated."""

    environment: Any
    params: Any
    observation_size: int
    num_actions: int
    max_steps: int
    optimum: float | None = None

    def reset(self, key: Array) -> tuple[Any, Array]:
        """Begins a random episode."""
        observation, state = self.environment.reset_env(key, self.params)
        return state, observation.astype(jnp.float32)

    def step(self, key: Array, state: Any, action: Array) -> Step:
        """Takes a step. The end of the time is the end of the task."""
        observation, after, reward, terminated, _ = self.environment.step_env(
            key, state, action, self.params
        )
        # A step keeps the types of the state, for `lax.scan`.
        after = type(after)(
            **{
                name: jnp.asarray(x, jnp.result_type(getattr(state, name)))
                for name, x in vars(after).items()
            }
        )
        ended = jnp.asarray(terminated, bool) | self.environment.is_truncated(after, self.params)
        reward = jnp.asarray(reward, jnp.float32)
        return Step(after, observation.astype(jnp.float32), reward, ended, jnp.bool_(False))


def _make(name: str, max_steps: int, optimum: float | None, size: dict, params: dict) -> GymnaxTask:
    try:
        import gymnax
    except ImportError as error:
        raise ImportError(
            f"{name} needs gymnax: pip install gymnax==1.0.1, or the extra `rl` of grujax."
        ) from error
    environment, defaults = gymnax.make(name, **size)
    limit = type(defaults.max_steps_in_episode)(max_steps)  # some count in floats
    params = defaults.replace(max_steps_in_episode=limit, **params)
    shape = environment.observation_space(params).shape
    return GymnaxTask(
        environment, params, int(np.prod(shape)), environment.num_actions, max_steps, optimum
    )


def umbrella_chain() -> GymnaxTask:
    """Take the umbrella at the first step if it will rain at the last, 64 random rewards later."""
    return _make("UmbrellaChain-bsuite", 64, 1.0, {}, {"chain_length": 64})


def bernoulli_bandit() -> GymnaxTask:
    """Find the better of two arms, which win with probability 0.1 and 0.9, in 100 pulls."""
    return _make("BernoulliBandit-misc", 100, None, {}, {})


def meta_maze() -> GymnaxTask:
    """Find the goal of a maze again and again in 200 steps; each time starts at another place."""
    return _make("MetaMaze-misc", 200, None, {}, {"normalize_time": True})
