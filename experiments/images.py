"""Images as sequences.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import loop, training
from experiments.common.digits import Digits, read_digits, split_digits
from experiments.common.image_distortions import Distortion, distort
from experiments.common.image_networks import ConvNet, ReNet, RowReader, from_module
from experiments.common.image_sequences import Network, cell_network


@dataclass(frozen=True)
class Settings:
    """What determines a trained network."""

    network: str = "gru"  # a cell, or "rows in both directions", "ReNet", "CNN"
    reading: str = "rows"  # by a cell: the image as a sequence, see `image_sequences.READINGS`
    parameters: int = 8000  # of a cell's layers, about
    hidden_size: int = 64  # of the other networks, in each direction; the CNN's first features
    dropout: float = 0.3
    distortion: Distortion = Distortion()  # of the training images, drawn anew for each batch
    batch_size: int = 32
    epochs: int = 15
    learning_rate: float = 3e-3  # the peak, after one epoch of warm-up; then a cosine
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0


class Data(NamedTuple):
    train: Digits
    validation: Digits
    test: Digits


def prepare() -> Data:
    rest, test = split_digits(read_digits())
    train, validation = split_digits(rest, seed=1, test_share=0.1)
    return Data(train, validation, test)


def make_network(settings: Settings) -> Network:
    hidden_size, dropout = settings.hidden_size, settings.dropout
    if settings.network == "bidirectional":
        return from_module(RowReader(hidden_size, 2, dropout))
    if settings.network == "ReNet":
        return from_module(ReNet(hidden_size, 4, dropout))
    if settings.network == "CNN":
        return from_module(ConvNet(hidden_size, dropout))
    return cell_network(settings.network, settings.reading, settings.parameters)


def image_training(settings, data, learning_rate):
    network = make_network(settings)
    examples = {"images": jnp.asarray(data.train.images), "labels": jnp.asarray(data.train.labels)}

    def loss(params, batch, key):
        distortion_key, dropout_key = jax.random.split(key)
        images = batch["images"] / 255.0
        if any(settings.distortion):
            images = distort(distortion_key, images, settings.distortion)
        logits = network.logits(params, images, dropout_key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"]).mean()

    def evaluate(params):
        logits = training.map_batches(lambda i: network.logits(params, i / 255.0, None), data.validation.images, 100)
        labels = data.validation.labels
        ce = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return {"validation_log_likelihood": -ce, "validation_accuracy": (logits.argmax(-1) == labels).mean()}

    return training.make_training(
        init_params=network.init, loss=loss, evaluate=evaluate, score="validation_log_likelihood",
        optimizer=training.adamw_warmup_cosine(
            learning_rate,
            settings.weight_decay,
            settings.max_gradient_norm,
            len(data.train.labels) // settings.batch_size,
            settings.epochs,
        ),
        examples=examples, batch_size=settings.batch_size, epochs=settings.epochs, patience=settings.epochs)
