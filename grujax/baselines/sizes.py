"""The sizes that every parameter class here has."""

from __future__ import annotations

from jax import Array

from grujax.jax_support.pytrees import ArrayTree


class LayerSizes(ArrayTree):
    """Reads the sizes of a layer from its input weights `w_x [..., I, H]`."""

    w_x: Array

    @property
    def input_size(self) -> int:
        """I, the input size."""
        return self.w_x.shape[-2]

    @property
    def hidden_size(self) -> int:
        """H, the hidden size."""
        return self.w_x.shape[-1]
