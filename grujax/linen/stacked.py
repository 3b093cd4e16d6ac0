"""A stack of GRU layers as a Linen module."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
from jax import Array
from jax.typing import ArrayLike

from grujax.layers import Layer, Merge, output_size, stacked_gru
from grujax.linen.bidirectional import BidirectionalGRU
from grujax.linen.layer import GRU, LayerBase


class StackedGRU(LayerBase):
    """A stack of GRU layers, each of one or two directions; batch-major.

    Attributes:
        features: H, the hidden size of each layer and direction. This and the fields up to
            `implementation` are those of `GRU`.
        num_layers: the number of layers.
        bidirectional: whether each layer has two directions.
        merge: how to combine the two directions, see `BidirectionalGRU`.
        dropout: the rate of dropout on the inputs of every layer except the first.
        residual: whether to add the input of every layer except the first to its output.

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

    def __call__(
        self,
        xs: ArrayLike,
        h0: Any = None,
        *,
        lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        reset_state: Any = None,
        deterministic: bool | None = None,
    ) -> tuple[list, Array]:
        """Runs the stack over a batch of sequences.

        Args:
            xs: `[B, T, I]`; B stands for any number of batch axes, including none.
            h0: a list with the structure of the returned `h_last`, or None. An item of None
                means what it means in `GRU`.
            lengths: `[B]` integers, see `grujax.gru`.
            resets: `[B, T]` bool, see `grujax.gru`.
            reset_state: a list as `h0`, see `grujax.stacked_gru`.
            deterministic: see `GRU`.

        Returns:
            `(h_last, hs)`: a list with the `h_last [B, H]` of each layer, or a pair of these if
            the layer has two directions, and the last layer's `hs [B, T, H]`, or what `merge`
            returns. The dtypes are those of `GRU`.

        Raises:
            ValueError: as `GRU` and `grujax.stacked_gru`.
        """
        run = partial(stacked_gru, dropout=self.dropout, residual=self.residual, merge=self.merge)
        return self._run(
            run,
            xs,
            h0,
            lengths=lengths,
            resets=resets,
            reset_state=reset_state,
            deterministic=deterministic,
        )

    def gru_params(self, input_size: int) -> list[Layer]:
        """Returns the functional parameters, a list of layers; see `GRUCell.gru_params`."""
        return self.params_and_h0(input_size)[0]

    @nn.compact
    def params_and_h0(self, input_size: int) -> tuple[list[Layer], list[Any]]:
        """Returns the functional parameters and the learned initial states, one item per layer.

        Args:
            input_size: I.

        Returns:
            A list as `grujax.stacked_gru` takes it, and a list of learned states, each `[H]` or
            None, or a pair of these if the layers have two directions.
        """
        fields = {**self._cell_fields(), "learned_h0": self.learned_h0}
        layer = BidirectionalGRU if self.bidirectional else GRU
        layers: list[Layer] = []
        states: list[Any] = []
        for index in range(self.num_layers):
            module = layer(**fields, name=f"layers_{index}")
            params, h0 = module.params_and_h0(input_size)
            layers.append(params)
            states.append(h0)
            input_size = output_size(self.features, self.bidirectional, self.merge)
        return layers, states

    def _rates(self) -> tuple[float, ...]:
        return *super()._rates(), self.dropout
