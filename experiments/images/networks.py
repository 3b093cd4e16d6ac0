"""Networks that see more of an image at once than a cell that reads it step by step."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from experiments.images.sequences import Network
from experiments.vision.digits import CLASSES, SIDE
from grujax.linen import BidirectionalGRU, StackedGRU


class RowReader(nn.Module):
    """Reads rows of pixels in both directions, layer above layer, and takes the mean.

    Attributes:
      hidden_size: H, of each layer and direction.
      num_layers: the number of layers.
      dropout: the rate, of what goes into every layer but the first and comes out of the last.
    """

    hidden_size: int
    num_layers: int
    dropout: float

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """images [B, 28, 28]. Returns: logits [B, 10]."""
        layers = StackedGRU(
            self.hidden_size, num_layers=self.num_layers, bidirectional=True, dropout=self.dropout
        )
        h_last, hs = layers(images, deterministic=not train)
        seen = jnp.concatenate([*h_last[-1], hs.mean(1)], -1)
        return nn.Dense(CLASSES)(nn.Dropout(self.dropout)(seen, not train))


class ReNet(nn.Module):
    """Sweeps over an image, down and up each column, then to the right and left along each row.

    The image is cut into squares. The first sweep knows of each square what stands above and below
    it; the second reads that along the rows, so that every place in the end depends on the whole
    image.

    Attributes:
      hidden_size: H, in each of the four directions.
      patch: the side of a square, in pixels; it divides 28.
      dropout: the rate, of what goes into the second sweep and comes out of it.

    Reference: Visin et al. 2015, https://arxiv.org/abs/1505.00393
    """

    hidden_size: int
    patch: int
    dropout: float

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """images [B, 28, 28]. Returns: logits [B, 10]."""
        side = SIDE // self.patch
        squares = images.reshape(-1, side, self.patch, side, self.patch)
        squares = squares.transpose(0, 3, 1, 2, 4)  # [B, columns, rows, patch, patch]
        columns = squares.reshape(-1, side, self.patch**2)  # [B · columns, rows, I]
        _, seen = BidirectionalGRU(self.hidden_size, name="columns")(columns)
        seen = nn.Dropout(self.dropout)(seen, not train)
        rows = seen.reshape(-1, side, side, seen.shape[-1]).swapaxes(1, 2)
        _, seen = BidirectionalGRU(self.hidden_size, name="rows")(
            rows.reshape(-1, side, seen.shape[-1])
        )
        seen = nn.Dropout(self.dropout)(seen.reshape(len(images), -1), not train)
        return nn.Dense(CLASSES)(seen)


class ConvNet(nn.Module):
    """Two convolutions that look at every second place, then a hidden layer, to compare with.

    Attributes:
      features: of the first convolution; the second has twice as many.
      dropout: the rate, before the last layer.

    Reference: Simard et al. 2003, https://doi.org/10.1109/ICDAR.2003.1227801
    """

    features: int
    dropout: float

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """images [B, 28, 28]. Returns: logits [B, 10]."""
        seen = images[..., None]
        for features in (self.features, 2 * self.features):
            seen = nn.relu(nn.Conv(features, kernel_size=(5, 5), strides=(2, 2))(seen))
        seen = nn.relu(nn.Dense(128)(seen.reshape(len(images), -1)))
        return nn.Dense(CLASSES)(nn.Dropout(self.dropout)(seen, not train))


def from_module(module: nn.Module) -> Network:
    """A module, called with images and `train`, as a `Network`."""

    def logits(params: Any, images: Array, key: Array | None = None) -> Array:
        rngs = None if key is None else {"dropout": key}
        return module.apply(params, images, train=key is not None, rngs=rngs)  # type: ignore

    return Network(lambda key: module.init(key, jnp.zeros((1, SIDE, SIDE))), logits)
