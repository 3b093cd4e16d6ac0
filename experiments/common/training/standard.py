"""The training of most experiments: AdamW with clipping, linear warm-up and a cosine decay."""

from typing import Any, Protocol

import jax
import optax
from jax import Array

from experiments.common.training.functional import PyTree, Training, make_training


class TrainingSettings(Protocol):
    """The fields that most experiments' settings share."""

    @property
    def batch_size(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def max_gradient_norm(self) -> float: ...


def make_standard_training(
    settings: TrainingSettings,
    learning_rate: float | Array | None = None,
    *,
    examples: PyTree,
    **parts: Any,
) -> Training:
    """`make_training` with `adamw_warmup_cosine` and without early stopping.

    Args:
      settings: an experiment's settings.
      learning_rate: may be traced; None: that of the settings.
      examples: the training set, as in `make_training`.
      parts: the other arguments of `make_training`.

    Raises:
      InputError: there are fewer examples than one batch.
    """
    optimizer = adamw_warmup_cosine(
        settings.learning_rate if learning_rate is None else learning_rate,
        settings.weight_decay,
        settings.max_gradient_norm,
        jax.tree.leaves(examples)[0].shape[0] // settings.batch_size,
        settings.epochs,
    )
    return make_training(
        optimizer=optimizer,
        examples=examples,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        patience=settings.epochs,
        **parts,
    )


def adamw_warmup_cosine(
    learning_rate: float | Array,
    weight_decay: float | Array,
    max_gradient_norm: float,
    num_batches: int,
    epochs: int,
) -> optax.GradientTransformation:
    """AdamW with clipping: one epoch of linear warm-up, then a cosine down to 2% of the peak.

    Args:
      learning_rate: the peak; may be traced.
      weight_decay: may be traced.
      max_gradient_norm: longer gradients are scaled down to this norm.
      num_batches: optimizer steps per epoch.
      epochs: the number of epochs, including the first one.
    """
    warm_up = max(num_batches, 1)  # `make_training` refuses 0 batches
    steps = max(num_batches * epochs, warm_up + 1)  # one epoch is the warm-up alone
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, warm_up, steps, 0.02)
    return optax.chain(
        optax.clip_by_global_norm(max_gradient_norm),
        optax.adamw(lambda step: learning_rate * shape(step), weight_decay=weight_decay),
    )
