"""Training as pure functions of a state: no Python runs between two batches.

A `Training` is a pair of pure functions. `init(key)` makes a `TrainState`; `epoch(state)` shuffles
the examples, takes one optimizer step per batch in a `lax.scan`, evaluates, and keeps the best
parameters so far. The state, its random key included, determines the rest of the training: saving
it and resuming later gives the same numbers bit for bit.

The same `Training` serves two callers: `train`, which is pure too (it can be jitted, and vmapped
over keys and hyperparameters), and `experiments.common.training.loop.run`, which shows progress
and saves checkpoints. `experiments.common.training.scale` sets devices, pieces and precision.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from experiments.common.command import InputError
from experiments.common.training.gradients import Loss, value_and_gradient
from experiments.common.training.scale import ONE_DEVICE, Scale, count_rows

PyTree = Any
Metrics = dict[str, Array]  # scalars


class TrainState(NamedTuple):
    """Everything that the rest of a training depends on."""

    params: PyTree
    optimizer_state: optax.OptState
    key: Array  # [] typed random key
    epoch: Array  # [] int32: finished epochs
    best_params: PyTree  # after the epoch with the highest score
    best_score: Array  # [] float32
    epochs_since_best: Array  # [] int32
    carried: PyTree = ()  # recurrent state between epochs, see `text_generation.streaming`


class Training(NamedTuple):
    """One training, see the module's docstring. `patience` and `epochs` set when it ends."""

    init: Callable[[Array], TrainState]  # key -> state
    epoch: Callable[..., tuple[TrainState, Metrics]]  # state, and a `Scale`, by default one device
    epochs: int  # at most
    patience: int  # stop after this many epochs in a row without a better score
    rows: int | None = None  # per batch
    # (parameters, optimizer state, batch, key) -> ((parameters, optimizer state), loss)
    step: Callable[..., tuple[tuple[PyTree, optax.OptState], Array]] | None = None

    def finished(self, state: TrainState) -> Array:
        """[] bool: the last epoch is done, or training stopped early."""
        return (state.epoch >= self.epochs) | (state.epochs_since_best >= self.patience)


def make_training(
    *,
    init_params: Callable[[Array], PyTree],
    loss: Loss,
    evaluate: Callable[[PyTree], Metrics],
    score: str,
    optimizer: optax.GradientTransformation,
    examples: PyTree,
    batch_size: int,
    epochs: int,
    patience: int,
    row_axes: PyTree = 0,
) -> Training:
    """Builds a `Training` from its parts.

    Args:
      init_params: key -> parameters.
      loss: (parameters, batch, key) -> [] mean loss of a batch, or its parts where rows weigh
        differently, see `experiments.common.training.gradients`; the key draws dropout.
      evaluate: parameters -> metrics on the validation set.
      score: the metric that selects the best epoch; higher is better.
      optimizer: the Optax optimizer, including its learning-rate schedule.
      examples: the training set, a pytree of arrays [N, ...]. The remainder that does not fill a
        batch is left out; shuffling makes it a different remainder in every epoch.
      batch_size: B.
      epochs: at most this many.
      patience: stop after this many epochs in a row without a better score.
      row_axes: the row axes of a batch, if not the first axis: see
        `experiments.common.training.scale.shard_rows`.

    Raises:
      InputError: there are fewer examples than one batch.
    """
    num_examples = jax.tree.leaves(examples)[0].shape[0]
    num_batches = num_examples // batch_size
    if num_batches == 0:
        raise InputError(
            f"{num_examples} training examples do not fill a batch of {batch_size}: "
            "lower `--batch-size`."
        )

    def init(key: Array) -> TrainState:
        params_key, key = jax.random.split(key)
        return init_train_state(init_params(params_key), optimizer, key)

    def step(params, optimizer_state, batch, key, scale=ONE_DEVICE):
        value, gradient = value_and_gradient(loss, scale, row_axes)(params, batch, key)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state), value

    def step_at(scale, carry, inputs):
        indices, key = inputs
        batch = jax.tree.map(lambda array: array[indices], examples)
        return step(*carry, batch, key, scale)

    def epoch(state: TrainState, scale: Scale = ONE_DEVICE) -> tuple[TrainState, Metrics]:
        key, order_key, dropout_key = jax.random.split(state.key, 3)
        order = jax.random.permutation(order_key, num_examples)[: num_batches * batch_size]
        batches = (
            order.reshape(num_batches, batch_size),
            jax.random.split(dropout_key, num_batches),
        )
        (params, optimizer_state), losses = jax.lax.scan(
            partial(step_at, scale), (state.params, state.optimizer_state), batches
        )
        state = state._replace(params=params, optimizer_state=optimizer_state, key=key)
        metrics = evaluate(params)
        return end_epoch(state, metrics[score]), {"train_loss": losses.mean(), **metrics}

    first = jax.tree.map(lambda array: array[:batch_size], examples)
    return Training(init, epoch, epochs, patience, count_rows(first, row_axes), step)


def init_train_state(
    params: PyTree, optimizer: optax.GradientTransformation, key: Array
) -> TrainState:
    """The state before the first epoch."""
    return TrainState(
        params=params,
        optimizer_state=optimizer.init(params),
        key=key,
        epoch=jnp.int32(0),
        best_params=params,
        best_score=jnp.float32(-jnp.inf),
        epochs_since_best=jnp.int32(0),
    )


def end_epoch(state: TrainState, score: Array) -> TrainState:
    """Counts the epoch, and keeps the parameters if their score, [], is the best so far."""
    better = score > state.best_score
    return state._replace(
        epoch=state.epoch + 1,
        best_params=jax.tree.map(partial(jnp.where, better), state.params, state.best_params),
        best_score=jnp.where(better, score, state.best_score),
        epochs_since_best=jnp.where(better, 0, state.epochs_since_best + 1),
    )


def train(training: Training, key: Array) -> tuple[TrainState, Metrics]:
    """Runs a whole training as one pure function.

    Returns: the final state, and the metrics of every epoch, each [epochs]. After early stopping
    the state no longer changes and the metrics are NaN.
    """

    def advance(state: TrainState, _) -> tuple[TrainState, Metrics]:
        def idle(state: TrainState) -> tuple[TrainState, Metrics]:
            shapes = jax.eval_shape(training.epoch, state)[1]
            return state, jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), shapes)

        return jax.lax.cond(training.finished(state), idle, training.epoch, state)

    return jax.lax.scan(advance, training.init(key), length=training.epochs)


def as_function(build: Callable[..., Training], settings: Any, data: Any) -> Callable[..., Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E], for sweeps.

    Args:
      build: (settings, data, learning_rate) -> the training; the learning rate may be traced.
      settings: `settings.learning_rate` is the default learning rate.
      data: passed on to `build`.
    """

    def train_at(key: Array, learning_rate: float | Array = settings.learning_rate) -> Metrics:
        return train(build(settings, data, learning_rate), key)[1]

    return train_at
