"""Networks that see more of an image at once than a cell that reads it step by step."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from experiments.images.sequences import Network
from experiments.vision.digits import CLASSES, SIDE
from grujax.linen import BidirectionalGRU, StackedGRU


class RowReader(nn.Module):
    """Stacked bidirectional GRUs over rows of pixels, with final states and mean as features.

    Attributes:
      hidden_size: H, of each layer and direction.
      num_layers: the number of layers.
      dropout: the rate, at the input of all layers but the first and at the features.
      classes: C, the number of classes.
    """

    hidden_size: int
    num_layers: int
    dropout: float
    classes: int = CLASSES

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """images [B, 28, 28]. Returns: logits [B, C]."""
        between_layers = self.dropout if self.num_layers > 1 else 0.0
        layers = StackedGRU(
            self.hidden_size, num_layers=self.num_layers, bidirectional=True, dropout=between_layers
        )
        h_last, hs = layers(images, deterministic=not train)
        features = jnp.concatenate([*h_last[-1], hs.mean(1)], -1)
        return nn.Dense(self.classes)(nn.Dropout(self.dropout)(features, not train))


class ReNet(nn.Module):
    """Bidirectional sweeps over an image: along each column, then along each row.

    The image is cut into square patches. The first sweep tells each patch what is above and below
    it; the second reads the result along the rows, so every position depends on the whole image.

    Attributes:
      hidden_size: H, in each of the four directions.
      patch: the side of a patch in pixels; it divides 28.
      dropout: the rate, at the input of the second sweep and at its output.

    Reference: Visin et al. 2015, https://arxiv.org/abs/1505.00393
    """

    hidden_size: int
    patch: int
    dropout: float

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """images [B, 28, 28]. Returns: logits [B, 10]."""
        side = SIDE // self.patch
        patches = images.reshape(-1, side, self.patch, side, self.patch)
        patches = patches.transpose(0, 3, 1, 2, 4)  # [B, columns, rows, patch, patch]
        columns = patches.reshape(-1, side, self.patch**2)  # [B · columns, rows, I]
        _, hs = BidirectionalGRU(self.hidden_size, name="columns")(columns)
        hs = nn.Dropout(self.dropout)(hs, not train)
        rows = hs.reshape(-1, side, side, hs.shape[-1]).swapaxes(1, 2)
        _, hs = BidirectionalGRU(self.hidden_size, name="rows")(
            rows.reshape(-1, side, hs.shape[-1])
        )
        features = nn.Dropout(self.dropout)(hs.reshape(len(images), -1), not train)
        return nn.Dense(CLASSES)(features)


class ConvNet(nn.Module):
    """Two convolutions with stride 2 and a hidden layer, for comparison.

    Attributes:
      features: channels of the first convolution; the second has twice as many.
      dropout: the rate, before the last layer.

    Reference: Simard et al. 2003, https://doi.org/10.1109/ICDAR.2003.1227801
    """

    features: int
    dropout: float

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        """images [B, 28, 28]. Returns: logits [B, 10]."""
        maps = images[..., None]
        for features in (self.features, 2 * self.features):
            maps = nn.relu(nn.Conv(features, kernel_size=(5, 5), strides=(2, 2))(maps))
        hidden = nn.relu(nn.Dense(128)(maps.reshape(len(images), -1)))
        return nn.Dense(CLASSES)(nn.Dropout(self.dropout)(hidden, not train))


def from_module(module: nn.Module) -> Network:
    """Wraps a module, called with images and `train`, as a `Network`."""

    def logits(params: Any, images: Array, key: Array | None = None) -> Array:
        rngs = None if key is None else {"dropout": key}
        return module.apply(params, images, train=key is not None, rngs=rngs)  # type: ignore

    return Network(lambda key: module.init(key, jnp.zeros((1, SIDE, SIDE))), logits)
