"""Convolutions over time, which read frames in the place of a GRU."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from experiments.common.cells import CELLS, closest_size, parameter_shapes
from grujax.baselines import count_parameters


class Seen(NamedTuple):
    """What `CausalConvolutions` keep between two calls."""

    windows: list[Array]  # [B, width - 1, C] of each layer: its last inputs
    output: Array  # [B, H], the last one


class CausalConvolutions(nn.Module):
    """Causal convolutions over time with ReLU, with as many parameters as a GRU.

    Each output depends on the last `1 + num_layers · (width − 1)` inputs: ten by default.

    Attributes:
      gru_size: the hidden size of the GRU in whose place they stand.
      num_layers: of convolutions.
      width: of their kernels, in steps.

    Reference: Bai et al. 2018, https://arxiv.org/abs/1803.01271, here without dilation.
    """

    gru_size: int
    num_layers: int = 3
    width: int = 4

    @nn.compact
    def __call__(self, xs: Array, seen: Seen | None = None) -> tuple[Seen, Array]:
        """Reads xs [B, T, I], after what an earlier call has seen; before the first are zeros.

        Returns: what the next call needs, and outputs [B, T, H].
        """
        steps, windows = xs.shape[1], []
        channels = self.channels(xs.shape[-1])
        for number in range(self.num_layers):
            start = (len(xs), self.width - 1, xs.shape[-1])
            window = jnp.zeros(start, xs.dtype) if seen is None else seen.windows[number]
            extended = jnp.concatenate([window, xs], 1)
            patches = [extended[:, i : i + steps] for i in range(self.width)]
            dense = nn.Dense(channels, kernel_init=nn.initializers.he_normal())
            xs = nn.relu(dense(jnp.concatenate(patches, -1)))
            windows.append(extended[:, steps:])
        return Seen(windows, xs[:, -1]), xs

    def channels(self, input_size: int) -> int:
        """The size of the outputs, for this size of the inputs."""

        def count(channels: int) -> int:
            inputs = input_size + (self.num_layers - 1) * channels
            return channels * (self.width * inputs + self.num_layers)

        gru = partial(CELLS["gru"].init, input_size=input_size, hidden_size=self.gru_size)
        return closest_size(count, count_parameters(parameter_shapes(gru)))
