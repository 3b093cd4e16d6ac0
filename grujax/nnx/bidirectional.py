"""GRUs in both directions over the same sequence as an NNX module."""

from __future__ import annotations

from typing import Unpack

from flax import nnx
from jax import Array

from grujax.flax_common import CHECKS, BidirectionalGRUCall, Steps
from grujax.layers import Merge
from grujax.nnx.layer import GRU, LayerBase
from grujax.nnx.options import Options, check_options, fork_dropout, select_inner_options
from grujax.params import GRUParams


class BidirectionalGRU(LayerBase):
    """Two GRUs over the same sequence, one in each direction; batch-major unless `time_major`.

    With `layer.backward_rnn = layer.forward_rnn` both directions have the same parameters.

    Args:
        in_features: I, the input size.
        features: H, the hidden size of each direction.
        merge: how to combine the two directions' `hs`: "concat", "sum", "mean", "mul", or a
            function of both, which are time-major; see `grujax.bidirectional_gru`.
        rngs: see `GRU`.
        options: see `GRU`.

    Raises:
        TypeError: as `GRU`.
        ValueError: as `GRU`.

    Example:
        >>> from flax import nnx
        >>> layer = BidirectionalGRU(4, 3, rngs=nnx.Rngs(0))
        >>> (h_last_forward, h_last_backward), hs = layer(jnp.ones((2, 5, 4)))
        >>> h_last_backward.shape, hs.shape
        ((2, 3), (2, 5, 6))

    Reference:
        Schuster and Paliwal 1997, https://doi.org/10.1109/78.650093
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        merge: Merge = "concat",
        rngs: nnx.Rngs,
        **options: Unpack[Options],
    ):
        options = check_options(BidirectionalGRU, rngs, options)
        self.merge = CHECKS["merge"]("merge", merge)
        inner = select_inner_options(options)
        self.forward_rnn = GRU(in_features, features, rngs=rngs, **inner)
        self.backward_rnn = GRU(in_features, features, rngs=rngs, **inner)
        for direction in (self.forward_rnn, self.backward_rnn):
            direction._set_options(inner, None)  # both draw from the stream of this layer
        self._set_options(options, fork_dropout(rngs, options))

    __call__ = BidirectionalGRUCall.__call__
    step = Steps.step

    def _runs_backward(self) -> bool:
        return True

    def gru_params(self) -> tuple[GRUParams, GRUParams]:
        """Returns the functional parameters, (forward, backward); see `GRUCell.gru_params`."""
        return self._params_and_h0()[0]

    def learned_h0(self) -> tuple[Array | None, Array | None]:
        """Returns the learned initial states, (forward, backward), each `[H]` or None."""
        return self._params_and_h0()[1]

    def _params_and_h0(
        self, _input_size: int | None = None
    ) -> tuple[tuple[GRUParams, GRUParams], tuple[Array | None, Array | None]]:
        forward, h0_forward = self.forward_rnn._params_and_h0()
        backward, h0_backward = self.backward_rnn._params_and_h0()
        return (forward, backward), (h0_forward, h0_backward)
