"""A stack of GRU layers as a Linen module."""

from __future__ import annotations

from typing import Any

import flax.linen as nn

from grujax.flax_common import StackedGRUCall, Steps
from grujax.layers import Layer, Merge, output_size
from grujax.linen.bidirectional import BidirectionalGRU
from grujax.linen.layer import GRU, LayerBase


class StackedGRU(LayerBase):
    """A stack of GRU layers, each of one or two directions; batch-major unless `time_major`.

    The layers are the submodules `layers_0`, `layers_1`, …: `nn.tabulate` lists them, and
    `capture_intermediates` has their outputs.

    Attributes:
        features: H, the hidden size of each layer and direction. This and the fields up to
            `time_major` are those of `GRU`.
        num_layers: the number of layers.
        bidirectional: whether each layer has two directions.
        merge: how to combine the two directions, see `BidirectionalGRU`.
        dropout: the rate of dropout on the inputs of every layer except the first, drawn anew at
            every step.
        residual: whether to add the input of every layer except the first to its output.
        return_all_layers: whether `hs` is a list with the `hs` of each layer, instead of that of
            the last layer alone.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> stack = StackedGRU(features=3, num_layers=2)
        >>> xs = jnp.ones((2, 5, 4))
        >>> h_last, hs = stack.apply(stack.init(jax.random.key(0), xs), xs)
        >>> [h.shape for h in h_last], hs.shape
        ([(2, 3), (2, 3)], (2, 5, 3))
    """

    num_layers: int = 1
    bidirectional: bool = False
    merge: Merge = "concat"
    dropout: float = 0.0
    residual: bool = False
    return_all_layers: bool = False

    def setup(self) -> None:
        """Makes the layers."""
        make: Any = GRU
        fields = self._fields(LayerBase)
        if self.bidirectional:
            make, fields = BidirectionalGRU, {**fields, "merge": self.merge}
        self.layers = [make(**fields) for _ in range(self.num_layers)]

    __call__ = StackedGRUCall.__call__
    step = Steps.step

    @nn.nowrap
    def _runs_backward(self) -> bool:
        return self.bidirectional

    @nn.nowrap
    def _carried_h0(self) -> list[Any]:
        if self.learned_h0:
            return [layer._carried_h0() for layer in self.layers]
        return [None] * self.num_layers

    @nn.nowrap
    def gru_params(self, input_size: int) -> list[Layer]:
        """Returns the functional parameters, a list of layers; see `GRUCell.gru_params`."""
        return self._params_and_h0(input_size)[0]

    @nn.nowrap
    def _params_and_h0(self, input_size: int) -> tuple[list[Layer], list[Any]]:
        """Returns the functional parameters and the learned initial states, one item per layer.

        Args:
            input_size: I, a positive integer.

        Returns:
            A list as `grujax.stacked_gru` takes it, and a list of learned states, each `[H]` or
            None, or a pair of these if the layers have two directions.
        """
        layers: list[Layer] = []
        states: list[Any] = []
        for index, layer in enumerate(self.layers):
            if index == 1:
                input_size = output_size(self.features, self.bidirectional, self.merge)
            params, h0 = layer._params_and_h0(input_size)
            layers.append(params)
            states.append(h0)
        return layers, states

    @nn.nowrap
    def _rates(self) -> tuple[float, ...]:
        return (self.dropout,)
