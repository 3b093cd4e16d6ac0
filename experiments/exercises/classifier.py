"""The network that names the exercise in a window of a motion sensor's recording."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.training import map_batches
from experiments.exercises.wrist_sensor import EXERCISES
from grujax.linen import StackedGRU

ANGULAR_UNIT = 2.0  # rad/s, about the deviation of angular velocities


class ExerciseClassifier(nn.Module):
    """A dense layer over a few samples at a time, bidirectional GRUs, the mean and the maximum.

    Attributes:
      stride: samples that make one step.
      hidden_size: H, of each direction.
      num_layers: of bidirectional GRUs.
      dropout: the rate, of what comes out of each layer; half of it before the first.
    """

    stride: int
    hidden_size: int
    num_layers: int = 1
    dropout: float = 0.0

    @nn.compact
    def __call__(self, signals: Array, train: bool) -> Array:
        """signals [B, T, 6], T a stride or more. Returns: logits [B, 7]."""
        scaled = signals / jnp.repeat(jnp.array([1.0, ANGULAR_UNIT], signals.dtype), 3)
        vectors = scaled.reshape(*scaled.shape[:2], 2, 3)
        lengths = jnp.sqrt((vectors**2).sum(-1) + 1e-6)
        xs = jnp.concatenate([scaled, lengths], -1)
        steps = xs.shape[1] // self.stride
        xs = xs[:, : steps * self.stride].reshape(len(xs), steps, -1)
        xs = nn.relu(nn.Dense(self.hidden_size)(xs))
        xs = nn.Dropout(self.dropout / 2)(xs, not train)
        gru = StackedGRU(
            self.hidden_size, num_layers=self.num_layers, bidirectional=True, dropout=self.dropout
        )
        _, hs = gru(xs, deterministic=not train)  # [B, steps, 2H]
        pooled = jnp.concatenate([hs.mean(1), hs.max(1)], -1)
        return nn.Dense(len(EXERCISES))(nn.Dropout(self.dropout)(pooled, not train))


@partial(jax.jit, static_argnums=0)
def log_probabilities(model: ExerciseClassifier, params: Any, signals: Array) -> Array:
    """Of windows [N, T, 6], by each of several networks [networks, ...]: [networks, N, 7]."""

    def one(params: Any) -> Array:
        classify = partial(model.apply, params, train=False)
        return nn.log_softmax(map_batches(classify, signals, 256))

    return jax.lax.map(one, params)
