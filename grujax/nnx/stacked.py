"""A stack of GRU layers as an NNX module."""

from __future__ import annotations

from typing import Any, Unpack

from flax import nnx

from grujax.flax_common import StackedGRUCall, check_arguments
from grujax.layers import Layer, Merge, output_size
from grujax.nnx.bidirectional import BidirectionalGRU
from grujax.nnx.layer import GRU, LayerBase
from grujax.nnx.options import Options, check_options, select_inner_options


class StackedGRU(LayerBase):
    """A stack of GRU layers, each of one or two directions; batch-major.

    Args:
        in_features: I, the input size.
        features: H, the hidden size of each layer and direction.
        num_layers: the number of layers.
        bidirectional: whether each layer has two directions.
        merge: how to combine the two directions, see `BidirectionalGRU`.
        dropout: the rate of dropout on the inputs of every layer except the first.
        residual: whether to add the input of every layer except the first to its output.
        rngs: see `GRU`.
        options: see `GRU`.

    Raises:
        ValueError: as `GRU`.

    Example:
        >>> import jax.numpy as jnp
        >>> stack = StackedGRU(4, 3, num_layers=2, rngs=nnx.Rngs(0))
        >>> h_last, hs = stack(jnp.ones((2, 5, 4)))
        >>> [h.shape for h in h_last], hs.shape
        ([(2, 3), (2, 3)], (2, 5, 3))
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        merge: Merge = "concat",
        dropout: float = 0.0,
        residual: bool = False,
        rngs: nnx.Rngs,
        **options: Unpack[Options],
    ):
        own = check_arguments(
            {
                "features": features,
                "num_layers": num_layers,
                "bidirectional": bidirectional,
                "merge": merge,
                "dropout": dropout,
                "residual": residual,
            }
        )
        options = check_options(StackedGRU, rngs, options, dropout)
        self.merge, self.dropout, self.residual = merge, dropout, own["residual"]
        inner = select_inner_options(options)
        layers: list[GRU | BidirectionalGRU] = []
        layer = BidirectionalGRU if own["bidirectional"] else GRU
        for _ in range(own["num_layers"]):
            layers.append(layer(in_features, features, rngs=rngs, **inner))
            in_features = output_size(own["features"], own["bidirectional"], merge)
        self.layers = nnx.List(layers)
        self._set_options(rngs, options, dropout)

    __call__ = StackedGRUCall.__call__

    def gru_params(self) -> list[Layer]:
        """Returns the functional parameters, a list of layers; see `GRUCell.gru_params`."""
        return [layer.gru_params() for layer in self.layers]

    def learned_h0(self) -> list[Any]:
        """Returns the learned state `[H]` of each layer, or None; a pair for two directions."""
        return [layer.learned_h0() for layer in self.layers]
