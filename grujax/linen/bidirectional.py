"""GRUs in both directions over the same sequence as a Linen module."""

from __future__ import annotations

import flax.linen as nn
from jax import Array

from grujax.flax_common import BidirectionalGRUCall
from grujax.layers import Merge
from grujax.linen.layer import GRU, LayerBase
from grujax.params import GRUParams


class BidirectionalGRU(LayerBase):
    """Two GRUs over the same sequence, one in each direction; batch-major.

    Attributes:
        features: H, the hidden size of each direction. This and the fields up to
            `implementation` are those of `GRU`.
        merge: how to combine the two directions' `hs`: "concat", "sum", "mean", "mul", or a
            function of both.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> layer = BidirectionalGRU(features=3)
        >>> xs = jnp.ones((2, 5, 4))
        >>> (h_last_forward, h_last_backward), hs = layer.apply(
        ...     layer.init(jax.random.key(0), xs), xs
        ... )
        >>> h_last_backward.shape, hs.shape
        ((2, 3), (2, 5, 6))

    Reference:
        Schuster and Paliwal 1997, https://doi.org/10.1109/78.650093
    """

    merge: Merge = "concat"

    __call__ = BidirectionalGRUCall.__call__

    def gru_params(self, input_size: int) -> tuple[GRUParams, GRUParams]:
        """Returns the functional parameters, (forward, backward); see `GRUCell.gru_params`."""
        return self.params_and_h0(input_size)[0]

    @nn.compact
    def params_and_h0(
        self, input_size: int
    ) -> tuple[tuple[GRUParams, GRUParams], tuple[Array | None, Array | None]]:
        """Returns the functional parameters and the learned initial states, (forward, backward).

        Args:
            input_size: I, a positive integer.

        Returns:
            A pair of `GRUParams`, and a pair of learned states, each `[H]` or None.
        """
        fields = {**self._cell_fields(), "learned_h0": self.learned_h0}
        forward, h0_forward = GRU(**fields, name="forward_rnn").params_and_h0(input_size)
        backward, h0_backward = GRU(**fields, name="backward_rnn").params_and_h0(input_size)
        return (forward, backward), (h0_forward, h0_backward)
