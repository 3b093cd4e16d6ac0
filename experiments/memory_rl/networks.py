"""The agent's network: an encoder, a core with memory, and the heads of actor and critic.

A core is a Flax module, made by `core(features)`, with two methods:

    initialize_carry(batch)             the carry of a fresh episode, for `batch` rows
    __call__(carry, xs, resets)         xs [T, B, I], resets [T, B] -> carry, outputs [T, B, H]

A reset sets the carry to that of a fresh episode before the step. One call with T = 1 acts, one
with all steps of a rollout trains.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.initializers import constant, orthogonal
from jax import Array

from experiments.common.cells import CELLS
from grujax.initializers import chrono
from grujax.linen import GRU

Core = Callable[[int], Any]  # features -> a module, see above


class GRUCore(nn.Module):
    """A GRU of grujax.

    Attributes:
      features: H.
      memory: the longest memory, in steps, that the update gates have at the start, with chrono
        biases; None: biases of zero.
    """

    features: int
    memory: int | None = None

    def setup(self) -> None:
        bias = chrono(self.memory) if self.memory else None
        self.gru = GRU(self.features, time_major=True, update_bias_init=bias)

    def __call__(self, carry: Array, xs: Array, resets: Array) -> tuple[Array, Array]:
        """Runs the GRU, see the top of this file."""
        return self.gru(xs, carry, resets=resets)

    @nn.nowrap
    def initialize_carry(self, batch: int) -> Array:
        """Zeros [B, H]."""
        return jnp.zeros((batch, self.features))

    def gru_params(self, input_size: int):
        """Returns the GRU's functional parameters."""
        return self.gru.gru_params(input_size)


class CellCore(nn.Module):
    """Any cell of `experiments.common.cells`, by name."""

    features: int
    cell: str

    @nn.compact
    def __call__(self, carry: Any, xs: Array, resets: Array) -> tuple[Any, Array]:
        """Runs the cell, see the top of this file."""
        cell = CELLS[self.cell]
        params = self.param("cell", cell.init, xs.shape[-1], self.features)
        return cell.run(params, xs, carry, resets=resets)

    @nn.nowrap
    def initialize_carry(self, batch: int) -> Any:
        """The cell's initial state, [B, H] or several of these."""
        return CELLS[self.cell].initial_state((batch, self.features), jnp.float32)


class FeedForward(nn.Module):
    """No memory: a hidden layer instead."""

    features: int

    @nn.compact
    def __call__(self, carry: tuple, xs: Array, resets: Array) -> tuple[tuple, Array]:
        """Maps each step by itself."""
        return carry, nn.relu(nn.Dense(self.features)(xs))

    @nn.nowrap
    def initialize_carry(self, batch: int) -> tuple:
        """Nothing."""
        return ()


class FrameStack(nn.Module):
    """A hidden layer that sees the last `frames` inputs; those before the episode are zero."""

    features: int
    frames: int = 4

    @nn.compact
    def __call__(self, carry: Array, xs: Array, resets: Array) -> tuple[Array, Array]:
        """carry [B, frames − 1, I], the inputs before, the oldest first."""

        def step(earlier: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
            x, is_first = inputs
            earlier = jnp.where(is_first[:, None, None], 0.0, earlier)
            seen = jnp.concatenate([earlier, x[:, None]], axis=1)
            return seen[:, 1:], seen.reshape(len(x), -1)

        carry, seen = jax.lax.scan(step, carry, (xs, resets))
        return carry, nn.relu(nn.Dense(self.features)(seen))

    @nn.nowrap
    def initialize_carry(self, batch: int) -> Array:
        """Zeros; the inputs have the size of the core."""
        return jnp.zeros((batch, self.frames - 1, self.features))


def make_core(name: str, memory: int | None = None, frames: int = 4) -> Core:
    """Returns the core of a name.

    Args:
      name: "gru"; "rnn", "lstm", "layer_norm_gru" or "min_gru", a cell to compare it with; "none",
        without memory; or "frames", which sees the last `frames` steps.
      memory: of "gru", see `GRUCore`.
      frames: of "frames".
    """
    if name == "gru":
        return partial(GRUCore, memory=memory)
    if name == "none":
        return FeedForward
    if name == "frames":
        return partial(FrameStack, frames=frames)
    return partial(CellCore, cell=name)


class ActorCritic(nn.Module):
    """Observations to the parameters of a policy, and to values.

    Attributes:
      core: see the top of this file.
      features: H, of every layer.
      num_outputs: A, of the policy, see `actions`.
      scale: the observations' typical magnitudes, by which they are divided.
    """

    core: Core
    features: int
    num_outputs: int
    scale: tuple[float, ...]

    def setup(self) -> None:
        hidden = partial(nn.Dense, self.features, kernel_init=orthogonal(2**0.5))
        self.encoder = hidden()
        self.memory = self.core(self.features)
        self.actor = nn.Sequential(
            [hidden(), nn.relu, nn.Dense(self.num_outputs, kernel_init=orthogonal(0.01))]
        )
        self.critic = nn.Sequential([hidden(), nn.relu, nn.Dense(1, kernel_init=orthogonal(1.0))])
        self.log_std = self.param("log_std", constant(0.0), ())

    def __call__(self, carry: Any, observations: Array, resets: Array) -> tuple[Any, Any, Array]:
        """Runs T steps of B environments.

        Args:
          carry: the core's.
          observations: [T, B, observation_size].
          resets: [T, B] bool: whether an episode begins with this observation.

        Returns: the carry, the policy (outputs [T, B, A] and the log of the standard deviation of
          real actions, []) and the values [T, B].
        """
        carry, hs = self.memory(carry, self.encode(observations), resets)
        return carry, (self.actor(hs), self.log_std), self.critic(hs)[..., 0]

    def encode(self, observations: Array) -> Array:
        """[..., observation_size] -> the core's inputs [..., H]."""
        return nn.relu(self.encoder(observations / np.array(self.scale, np.float32)))

    @nn.nowrap
    def initialize_carry(self, batch: int) -> Any:
        """The carry of `batch` fresh episodes."""
        return self.core(self.features).initialize_carry(batch)

    def gru_params(self):
        """Returns the functional parameters of a `GRUCore`."""
        return self.memory.gru_params(self.features)
