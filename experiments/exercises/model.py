"""The network that classifies the exercise in a window of a motion sensor's recording."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.rivals.layers import make_layers
from experiments.common.training import map_batches
from experiments.exercises.wrist_sensor import EXERCISES

ANGULAR_UNIT = 2.0  # rad/s, about the standard deviation of angular velocities


class ExerciseClassifier(nn.Module):
    """A dense layer over a few samples per step, bidirectional layers, mean and maximum pooling.

    Attributes:
      stride: samples per step.
      hidden_size: H, the size of each direction of a GRU.
      num_layers: the number of bidirectional GRUs, or of what takes the place of each.
      dropout: the rate after each layer; half of it before the first.
      of_watch: whether the channels are those of the watch, in g and rad/s; else any channels,
        standardized.
      num_classes: K.
      cell: what stands in the place of the GRU, with as many parameters, see `make_layers`.
    """

    stride: int
    hidden_size: int
    num_layers: int = 1
    dropout: float = 0.0
    of_watch: bool = True
    num_classes: int = len(EXERCISES)
    cell: str = "gru"

    @nn.compact
    def __call__(self, signals: Array, train: bool) -> Array:
        """Classifies signals [B, T, C], where T is at least one stride: logits [B, K]."""
        xs = _with_norms(signals) if self.of_watch else signals
        steps = xs.shape[1] // self.stride
        xs = xs[:, : steps * self.stride].reshape(len(xs), steps, -1)
        xs = nn.relu(nn.Dense(self.hidden_size)(xs))
        xs = nn.Dropout(self.dropout / 2)(xs, not train)
        options = {"num_layers": self.num_layers, "bidirectional": True, "dropout": self.dropout}
        layers = make_layers(self.cell, self.hidden_size, **options)
        _, hs = layers(xs, deterministic=not train)  # [B, steps, 2H]
        pooled = jnp.concatenate([hs.mean(1), hs.max(1)], -1)
        return nn.Dense(self.num_classes)(nn.Dropout(self.dropout)(pooled, not train))


def _with_norms(signals: Array) -> Array:
    """The two vectors of the watch in similar units, and their norms: [B, T, 6] -> [B, T, 8]."""
    scaled = signals / jnp.repeat(jnp.array([1.0, ANGULAR_UNIT], signals.dtype), 3)
    vectors = scaled.reshape(*scaled.shape[:2], 2, 3)
    return jnp.concatenate([scaled, jnp.sqrt((vectors**2).sum(-1) + 1e-6)], -1)


@partial(jax.jit, static_argnums=0)
def log_probabilities(model: ExerciseClassifier, params: Any, signals: Array) -> Array:
    """Log-probabilities [networks, N, K] of windows [N, T, C] by networks [networks, ...]."""

    def run_network(params: Any) -> Array:
        classify = partial(model.apply, params, train=False)
        return nn.log_softmax(map_batches(classify, signals, 256))

    return jax.lax.map(run_network, params)
