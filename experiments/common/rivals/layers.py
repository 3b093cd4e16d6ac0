"""The layers of a Flax network that `--cell` chooses."""

from functools import cache, partial
from typing import Any

import flax.linen as nn
from jax import Array

from experiments.common.cells import closest_size, parameter_shapes
from experiments.common.rivals.cells import RIVALS, init_both_ways, read_both_ways
from experiments.common.training.models import from_arrays, to_arrays
from grujax.baselines import count_parameters
from grujax.linen import GRU, StackedGRU

PyTree = Any


def make_layers(
    cell: str,
    hidden_size: int,
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
) -> nn.Module:
    """The layers of a network: a `StackedGRU`, or `RivalLayers`, which are called alike.

    Args:
      cell: one of RIVALS.
      hidden_size: of the GRU, in each direction. A rival has the size at which its layers have as
        many parameters.
      num_layers: of GRUs, or of what takes the place of each.
      bidirectional: whether each output depends on the whole sequence.
      dropout: the rate between layers.
    """
    kind = StackedGRU if cell == "gru" else partial(RivalLayers, cell)
    rate = dropout if num_layers > 1 else 0.0
    return kind(hidden_size, num_layers=num_layers, bidirectional=bidirectional, dropout=rate)


def make_layer(cell: str, hidden_size: int) -> nn.Module:
    """One layer that reads forward: a `GRU`, or `RivalLayers`.

    Both are called `layer(xs [B, T, I], carry, lengths=lengths) -> (carry, hs [B, T, H])`, where
    `carry` and `lengths` can be left out: see `RivalLayers`. The carries differ; `last_output`
    reads them.

    Args:
      cell: one of RIVALS.
      hidden_size: of the GRU; a rival has as many parameters.
    """
    return GRU(hidden_size) if cell == "gru" else RivalLayers(cell, hidden_size)


def last_output(cell: str, carry: PyTree) -> Array:
    """The output after the last valid step, [B, H], from the carry that a `make_layer` returned."""
    return carry if cell == "gru" else RIVALS[cell].output(carry[-1])


class RivalLayers(nn.Module):
    """Layers of a rival, with about as many parameters as those of a GRU.

    Attributes:
      cell: one of RIVALS.
      gru_size: the hidden size of the GRU in whose place they stand.
      num_layers, bidirectional, dropout: see `make_layers`.
    """

    cell: str
    gru_size: int
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        xs: Array,
        carry: list[PyTree] | None = None,
        *,
        lengths: Array | None = None,
        deterministic: bool = True,
    ) -> tuple[list[PyTree], Array]:
        """Reads xs [B, T, I].

        Args:
          xs: the sequences.
          carry: the states that an earlier call returned, one of each layer.
          lengths: int [B], the number of valid steps; None: all.
          deterministic: without dropout.

        Returns: the states after the last step, [] if bidirectional, and the outputs [B, T, H].
        """
        size = self.size(xs.shape[-1])
        hs, states = xs.swapaxes(0, 1), []
        for number in range(self.num_layers):
            if number:
                hs = nn.Dropout(self.dropout)(hs, deterministic)
            init = partial(_init_layer, self.cell, self.bidirectional, hs.shape[-1], size)
            arrays = self.param(f"layer_{number}", lambda key, init=init: to_arrays(init(key)))
            params = from_arrays(parameter_shapes(init), arrays)
            if self.bidirectional:
                hs = read_both_ways(self.cell, params, hs, lengths)
                continue
            start = None if carry is None else carry[number]
            state, hs = RIVALS[self.cell].run(params, hs, start, lengths=lengths)
            states.append(state)
        return states, hs.swapaxes(0, 1)

    def size(self, input_size: int) -> int:
        """The hidden size for this size of the input."""
        shape = (self.num_layers, self.bidirectional, input_size)
        return equal_size(self.cell, self.gru_size, *shape)


@cache
def equal_size(
    cell: str, gru_size: int, num_layers: int, bidirectional: bool, input_size: int
) -> int:
    """The hidden size at which layers have about as many parameters as those of a GRU."""

    def count(name: str, hidden_size: int) -> int:
        total, size = 0, input_size
        for _ in range(num_layers):
            init = partial(_init_layer, name, bidirectional, size, hidden_size)
            total += count_parameters(parameter_shapes(init))
            size = hidden_size * (2 if bidirectional and name != "transformer" else 1)
        return total

    return closest_size(partial(count, cell), count("gru", gru_size))


def count_layer_parameters(variables: PyTree) -> int:
    """The parameters of the layers that `make_layers` made in a network, from its variables.

    Arrays, or their shapes.
    """
    return sum(
        count_parameters(part)
        for name, part in variables["params"].items()
        if name.startswith(("StackedGRU", "RivalLayers"))
    )


def _init_layer(
    cell: str, bidirectional: bool, input_size: int, hidden_size: int, key: Array
) -> PyTree:
    """The parameters of one layer."""
    if bidirectional:
        return init_both_ways(cell, key, input_size, hidden_size)
    return RIVALS[cell].init(key, input_size, hidden_size)
