"""Which exercise the arm does, felt by a watch: a bidirectional GRU on real wrist recordings.

140 recordings of ten subjects at 50 Hz, three accelerations and three angular velocities, seven
shoulder exercises. A window of two seconds is to be named, and a recording by all its windows
together. Each subject is tested by networks that have never seen one of theirs.

    python -m experiments.exercises
    python -m experiments.exercises --quick
    python -m experiments.exercises --predict runs/exercises/example.csv
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import loop, training
from experiments.common.command import run_command
from experiments.common.models import load_model, save_model
from experiments.common.sensor_augmentation import Augmentation, draw_windows
from experiments.common.wrist_sensor import (
    CHANNELS,
    EXERCISES,
    Recordings,
    Windows,
    cut_windows,
    number_folds,
    read_recordings,
    read_signal,
    window_signals,
)
from grujax.linen import StackedGRU

COMMAND = "python -m experiments.exercises"
MODEL, EXAMPLE = "model.msgpack", "example.csv"
WINDOW = 100  # samples, two seconds
CLASSES = len(EXERCISES)
NUM_FOLDS = 5  # of two subjects each


@dataclass(frozen=True)
class Settings:
    """What determines the trained networks."""

    stride: int = 4  # samples that make one step
    hidden_size: int = 64  # of the GRU, in each direction
    num_layers: int = 1
    dropout: float = 0.4
    smoothing: float = 0.1  # of the labels
    augmentation: Augmentation = Augmentation(0.2, 0.2, 0.1, 0.05, 0.5)
    seeds: int = 3  # networks, trained side by side
    batch_size: int = 64
    updates: int = 64  # in an epoch
    epochs: int = 16
    learning_rate: float = 3e-3  # the peak, after one epoch of warm-up; then a cosine
    weight_decay: float = 0.05
    max_gradient_norm: float = 1.0


class Data(NamedTuple):
    """What one training needs: S splits, each by other subjects."""

    recordings: Recordings
    windows: Windows  # overlapping; when one is drawn, it moves by up to half of its length
    members: Array  # int [S, M], the numbers of the windows that a split trains on, repeated to M
    counts: Array  # int [S], how many of these are not repeated


def prepare(recordings: Recordings, folds: np.ndarray, left_out: Sequence[Sequence[int]]) -> Data:
    """Makes one split for each group of folds that are left out of it.

    Args:
      recordings: N of them.
      folds: int [N], the fold of each.
      left_out: S groups.
    """
    windows = cut_windows(recordings.lengths, WINDOW, WINDOW // 2)
    of_window = folds[windows.recordings]
    members = [np.flatnonzero(~np.isin(of_window, group)) for group in left_out]
    most = max(map(len, members))
    padded = np.stack([np.resize(numbers, most) for numbers in members])
    return Data(recordings, windows, jnp.asarray(padded), jnp.array([len(m) for m in members]))


class Classifier(nn.Module):
    """A dense layer over a few samples at a time, bidirectional GRUs, the mean and the maximum."""

    settings: Settings

    @nn.compact
    def __call__(self, signals: Array, train: bool) -> Array:
        """signals [B, T, 6], T at least a stride. Returns: logits [B, 7]."""
        s = self.settings
        scaled = signals / jnp.repeat(jnp.array([1.0, 2.0]), 3)
        vectors = scaled.reshape(*scaled.shape[:2], 2, 3)
        lengths = jnp.sqrt((vectors**2).sum(-1) + 1e-6)
        xs = jnp.concatenate([scaled, lengths], -1)
        steps = xs.shape[1] // s.stride
        xs = xs[:, : steps * s.stride].reshape(len(xs), steps, -1)
        xs = nn.relu(nn.Dense(s.hidden_size)(xs))
        xs = nn.Dropout(s.dropout / 2)(xs, not train)
        gru = StackedGRU(
            s.hidden_size, num_layers=s.num_layers, bidirectional=True, dropout=s.dropout
        )
        _, hs = gru(xs, deterministic=not train)  # [B, steps, 2H]
        pooled = jnp.concatenate([hs.mean(1), hs.max(1)], -1)
        return nn.Dense(len(EXERCISES))(nn.Dropout(s.dropout)(pooled, not train))


def log_probabilities(model: Classifier, params: Any, signals: np.ndarray) -> Array:
    """Of each of N windows [N, T, 6], by each network: [networks, N, 7]."""

    def one(params: Any) -> Array:
        classify = partial(model.apply, params, train=False)
        return nn.log_softmax(training.map_batches(classify, jnp.asarray(signals), 256))

    return jax.lax.map(one, params)


def classifier_training(
    settings: Settings, data: Data, learning_rate: float | Array
) -> training.Training:
    """Builds the training of all networks side by side: those of one split after the other's."""
    model = Classifier(settings)
    signals, lengths, labels = map(jnp.asarray, data.recordings[:3])
    owners, starts = map(jnp.asarray, data.windows)
    members, counts = (jnp.repeat(array, settings.seeds, 0) for array in data[2:])
    num_networks = len(members)

    def init_params(key: Array) -> Any:
        keys = jax.random.split(key, num_networks)
        return jax.vmap(lambda key: model.init(key, jnp.zeros((1, WINDOW, 6)), False))(keys)

    def network_loss(params: Any, members: Array, count: Array, batch: Array, key: Array) -> Array:
        which, draw, dropout = jax.random.split(key, 3)
        chosen = members[jax.random.randint(which, batch.shape, 0, count)]
        of = owners[chosen]
        windows = draw_windows(
            draw,
            signals[of],
            lengths[of],
            starts[chosen],
            WINDOW,
            WINDOW // 2,
            settings.augmentation,
        )
        logits = model.apply(params, windows, True, rngs={"dropout": dropout})
        targets = optax.smooth_labels(jax.nn.one_hot(labels[of], CLASSES), settings.smoothing)
        return optax.softmax_cross_entropy(logits, targets).mean()

    def loss(params: Any, batch: Array, key: Array) -> Array:
        keys = jax.random.split(key, num_networks)
        losses = jax.vmap(network_loss, (0, 0, 0, None, 0))(params, members, counts, batch, keys)
        return losses.sum()

    optimizer = training.adamw_warmup_cosine(
        learning_rate,
        settings.weight_decay,
        settings.max_gradient_norm,
        settings.updates,
        settings.epochs,
    )
    return training.make_training(
        init_params=init_params,
        loss=loss,
        evaluate=lambda params: {"done": jnp.float32(0)},
        score="done",
        optimizer=optax.GradientTransformation(
            jax.vmap(optimizer.init), jax.vmap(optimizer.update)
        ),
        examples=jnp.arange(settings.updates * settings.batch_size),  # drawn in `network_loss`
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        patience=settings.epochs,
    )
