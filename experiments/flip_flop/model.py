"""A GRU with a linear readout of its state."""

import flax.linen as nn
from jax import Array

from experiments.flip_flop.data import BITS
from grujax import GRUParams
from grujax.linen import GRU


class FlipFlop(nn.Module):
    """Maps pulses to memories."""

    hidden_size: int

    def setup(self) -> None:
        self.gru = GRU(self.hidden_size)
        self.readout = nn.Dense(BITS)

    def __call__(self, pulses: Array) -> tuple[Array, Array]:
        """pulses [N, T, 3]. Returns: the memory [N, T, 3] and the states [N, T, H]."""
        _, hs = self.gru(pulses)
        return self.readout(hs), hs

    def read(self, hs: Array) -> Array:
        """Reads the memory [..., 3] from states [..., H]."""
        return self.readout(hs)

    def gru_params(self) -> GRUParams:
        """Returns the GRU's functional parameters."""
        return self.gru.gru_params(BITS)
