"""The layers of a Flax network that `--cell` chooses."""

from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.cells import closest_size, parameter_shapes
from experiments.common.rivals.cells import RIVALS, init_both_ways, read_both_ways
from experiments.common.training.models import from_arrays, to_arrays
from grujax.baselines import count_parameters
from grujax.linen import GRU, BidirectionalGRU, StackedGRU

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


def make_layer(
    cell: str,
    hidden_size: int,
    *,
    bidirectional: bool = False,
    time_major: bool = False,
    gru_input: int | None = None,
) -> nn.Module:
    """One layer: a `GRU`, a `BidirectionalGRU`, or `RivalLayers`.

    All are called `layer(xs [B, T, I], carry, lengths=lengths) -> (carry, hs [B, T, H])`, where
    `carry` and `lengths` can be left out: see `RivalLayers`. The carries differ: `last_output` and
    `last_outputs` read them, and `start_steps` makes the first one.

    Args:
      cell: one of RIVALS.
      hidden_size: of the GRU, in each direction; a rival has as many parameters.
      bidirectional: whether each output depends on the whole sequence.
      time_major: whether `xs` and `hs` are [T, B, ...].
      gru_input: the size of the GRU's inputs; None: of the rival's.
    """
    if cell == "gru":
        return (BidirectionalGRU if bidirectional else GRU)(hidden_size, time_major=time_major)
    return RivalLayers(
        cell,
        hidden_size,
        bidirectional=bidirectional,
        time_major=time_major,
        gru_input=gru_input,
    )


def output_size(
    cell: str, hidden_size: int, input_size: int, *, bidirectional: bool = False
) -> int:
    """The size of the outputs of a `make_layer`, for inputs of this size."""
    size = equal_size(cell, hidden_size, 1, bidirectional, input_size)
    return size * _directions(cell, bidirectional)


def first_size(cell: str, hidden_size: int, input_size: int) -> int:
    """The size of a vector from which a `make_layer` starts.

    That is the state of a GRU, and for a rival an input before the first step.
    """
    return hidden_size if cell == "gru" else input_size


def start_steps(cell: str, layer: nn.Module, first: Array, steps: int) -> PyTree:
    """The carry with which a `make_layer` can run `steps` steps one by one.

    To run them in one call, `first` [B, `first_size`] itself is the carry.
    """
    return first if cell == "gru" else layer.start(first, steps)


def last_output(cell: str, carry: PyTree) -> Array:
    """The output after the last valid step, [B, H], from the carry that a `make_layer` returned."""
    return carry if cell == "gru" else RIVALS[cell].output(carry[-1])


def last_outputs(cell: str, carry: PyTree) -> Array:
    """The same of a bidirectional `make_layer`: [B, 2·H], or [B, H] of a Transformer."""
    return jnp.concatenate(carry, -1) if cell == "gru" else carry[-1]


class RivalLayers(nn.Module):
    """Layers of a rival, with about as many parameters as those of a GRU.

    Attributes:
      cell: one of RIVALS.
      gru_size: the hidden size of the GRU in whose place they stand.
      num_layers, bidirectional, dropout: see `make_layers`.
      time_major: see `make_layer`. There can be batch axes before B then.
      gru_input: see `make_layer`.
    """

    cell: str
    gru_size: int
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    time_major: bool = False
    gru_input: int | None = None

    @nn.compact
    def __call__(
        self,
        xs: Array,
        carry: list[PyTree] | Array | None = None,
        *,
        lengths: Array | None = None,
        deterministic: bool = True,
    ) -> tuple[list[PyTree], Array]:
        """Reads xs [B, T, I].

        Args:
          xs: the sequences.
          carry: the states that an earlier call or `start` returned, one of each layer; or an input
            [B, I] before the first step.
          lengths: int [B], the number of valid steps; None: all.
          deterministic: without dropout.

        Returns: the states after the last step, or the last outputs of `read_both_ways`, and the
          outputs [B, T, H].
        """
        size = self.size(xs.shape[-1])
        hs, states = xs if self.time_major else xs.swapaxes(0, 1), []
        num_before = 0
        if isinstance(carry, Array):
            hs = jnp.concatenate([carry[None].astype(hs.dtype), hs])
            carry, num_before = None, 1
            lengths = None if lengths is None else lengths + 1
        for number in range(self.num_layers):
            if number:
                hs = nn.Dropout(self.dropout)(hs, deterministic)
            init = partial(_init_layer, self.cell, self.bidirectional, hs.shape[-1], size)
            arrays = self.param(f"layer_{number}", lambda key, init=init: to_arrays(init(key)))
            params = from_arrays(parameter_shapes(init), arrays)
            if self.bidirectional:
                state, hs = read_both_ways(self.cell, params, hs, lengths)
            else:
                run = partial(RIVALS[self.cell].run, lengths=lengths)
                for _ in range(hs.ndim - 3):
                    run = jax.vmap(run, in_axes=(None, 1, 0), out_axes=(0, 1))
                state, hs = run(params, hs, None if carry is None else carry[number])
            states.append(state)
        hs = hs[num_before:]
        return states, hs if self.time_major else hs.swapaxes(0, 1)

    def start(self, first: Array, steps: int) -> list[PyTree]:
        """The states after an input [B, I], before `steps` steps: a cache has room for them all."""
        shape = (len(first), self.size(first.shape[-1]))
        room = {"window": 1 + steps} if self.cell == "transformer" else {}
        state = RIVALS[self.cell].initial_state(shape, first.dtype, **room)
        xs = first[None] if self.time_major else first[:, None]
        return self(xs, [state] * self.num_layers)[0]

    def size(self, input_size: int) -> int:
        """The hidden size for this size of the input."""
        shape = (self.num_layers, self.bidirectional, input_size, self.gru_input)
        return equal_size(self.cell, self.gru_size, *shape)


@cache
def equal_size(
    cell: str,
    gru_size: int,
    num_layers: int,
    bidirectional: bool,
    input_size: int,
    gru_input: int | None = None,
) -> int:
    """The hidden size at which layers have about as many parameters as those of a GRU.

    The inputs of the GRU have the size `gru_input`, or that of the others'.
    """

    def count(name: str, size: int, hidden_size: int) -> int:
        total = 0
        for _ in range(num_layers):
            init = partial(_init_layer, name, bidirectional, size, hidden_size)
            total += count_parameters(parameter_shapes(init))
            size = hidden_size * _directions(name, bidirectional)
        return total

    wanted = count("gru", gru_input or input_size, gru_size)
    return closest_size(partial(count, cell, input_size), wanted)


def _directions(cell: str, bidirectional: bool) -> int:
    """The number of outputs of a layer that are side by side."""
    return 2 if bidirectional and cell != "transformer" else 1


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
