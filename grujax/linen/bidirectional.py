"""GRUs in both directions over the same sequence as a Linen module."""

from __future__ import annotations

import flax.linen as nn
from jax import Array

from grujax.flax_common import BidirectionalGRUCall, Steps
from grujax.layers import Merge
from grujax.linen.cell import CellFields
from grujax.linen.layer import GRU, LayerBase
from grujax.params import GRUParams


class BidirectionalGRU(LayerBase):
    """Two GRUs over the same sequence, one in each direction; batch-major unless `time_major`.

    Variables with a `forward_rnn` and no `backward_rnn` are those of one cell for both directions,
    as in Flax's `nn.Bidirectional(nn.RNN(cell), nn.RNN(cell))`.

    Attributes:
        features: H, the hidden size of each direction. This and the fields up to `time_major` are
            those of `GRU`.
        merge: how to combine the two directions' `hs`: "concat", "sum", "mean", "mul", or a
            function of both, which are time-major; see `grujax.bidirectional_gru`.

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

    def setup(self) -> None:
        """Makes the two directions, which hold the parameters."""
        fields = {**self._fields(CellFields), "learned_h0": self.learned_h0}
        self.forward_rnn = GRU(**fields)
        self.backward_rnn = GRU(**fields)

    __call__ = BidirectionalGRUCall.__call__
    step = Steps.step

    @nn.nowrap
    def _runs_backward(self) -> bool:
        return True

    @nn.nowrap
    def gru_params(self, input_size: int) -> tuple[GRUParams, GRUParams]:
        """Returns the functional parameters, (forward, backward); see `GRUCell.gru_params`."""
        return self._params_and_h0(input_size)[0]

    @nn.nowrap
    def _params_and_h0(
        self, input_size: int
    ) -> tuple[tuple[GRUParams, GRUParams], tuple[Array | None, Array | None]]:
        """Returns the functional parameters and the learned initial states, (forward, backward).

        Args:
            input_size: I, a positive integer.

        Returns:
            A pair of `GRUParams`, and a pair of learned states, each `[H]` or None.
        """
        has_one, has_both = (
            self.has_variable("params", name) for name in ("forward_rnn", "backward_rnn")
        )
        forward, h0_forward = self.forward_rnn._params_and_h0(input_size)
        if has_one and not has_both:
            return (forward, forward), (h0_forward, h0_forward)
        backward, h0_backward = self.backward_rnn._params_and_h0(input_size)
        return (forward, backward), (h0_forward, h0_backward)
