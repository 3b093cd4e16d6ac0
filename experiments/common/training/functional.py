"""Training as pure functions of a state: no Python runs between two batches.

A `Training` is a pair of pure functions. `init(key)` makes a `TrainState`; `epoch(state)` shuffles
the examples, takes one optimizer step a batch in a `lax.scan`, evaluates, and keeps the best
parameters so far. Everything that the rest of a training depends on lies in the state, its random
key included, so saving the state and going on later gives the same numbers to the last bit.

The same `Training` serves two callers: `train`, itself pure (it can be jitted, and vmapped over
keys and hyperparameters), and `experiments.common.training.loop.run`, which shows progress and saves
checkpoints. `experiments.common.training.scale` says on how many devices, in what pieces and precision.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jax import Array

from experiments.common.training.gradients import Loss, value_and_gradient
from experiments.common.training.scale import ONE_DEVICE, Scale, count_rows, rounded_up, spread

PyTree = Any
Metrics = dict[str, Array]  # scalars


class TrainState(NamedTuple):
    """All that the rest of a training depends on."""

    params: PyTree
    optimizer_state: optax.OptState
    key: Array  # [] typed random key
    epoch: Array  # [] int32: epochs done
    best_params: PyTree  # those of the epoch with the highest score
    best_score: Array  # [] float32
    epochs_since_best: Array  # [] int32
    carried: PyTree = ()  # what reading goes on from, see `experiments.text_generation.streaming`


class Training(NamedTuple):
    """One training, see the module's docstring. `patience` and `epochs` say when it ends."""

    init: Callable[[Array], TrainState]  # key
    epoch: Callable[..., tuple[TrainState, Metrics]]  # state, and a `Scale`: one device if left out
    epochs: int  # at most so many
    patience: int  # stop after so many epochs in a row without a better score
    rows: int | None = None  # in a batch
    # Parameters, optimizer's state, batch, key -> those two after a step, and the loss.
    step: Callable[..., tuple[tuple[PyTree, optax.OptState], Array]] | None = None

    def finished(self, state: TrainState) -> Array:
        """[] bool: the last epoch is done, or early stopping has come."""
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
      score: which of these metrics chooses the best epoch; higher is better.
      optimizer: the Optax optimizer, its learning-rate schedule included.
      examples: the training set, a pytree of arrays [N, ...]. What does not fill a batch at the end
        of an epoch is left out; it is another remainder every epoch.
      batch_size: B.
      epochs: at most so many.
      patience: stop after so many epochs in a row without a better score.
      row_axes: where a batch has its rows, if not along the first axis: see
        `experiments.common.training.scale.spread`.

    Raises:
      ValueError: there are fewer examples than one batch.
    """
    num_examples = jax.tree.leaves(examples)[0].shape[0]
    num_batches = num_examples // batch_size
    if num_batches == 0:
        raise ValueError(
            f"{num_examples} training examples do not fill a batch of {batch_size}: "
            "lower `batch_size`."
        )

    def init(key: Array) -> TrainState:
        params_key, key = jax.random.split(key)
        return start(init_params(params_key), optimizer, key)

    def step(params, optimizer_state, batch, key, scale=ONE_DEVICE):
        value, gradient = value_and_gradient(loss, scale, row_axes)(params, batch, key)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state), value

    def take(scale, carry, inputs):
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
            partial(take, scale), (state.params, state.optimizer_state), batches
        )
        state = state._replace(params=params, optimizer_state=optimizer_state, key=key)
        metrics = evaluate(params)
        return end_epoch(state, metrics[score]), {"train_loss": losses.mean(), **metrics}

    first = jax.tree.map(lambda array: array[:batch_size], examples)
    return Training(init, epoch, epochs, patience, count_rows(first, row_axes), step)


class Recipe(Protocol):
    """What the settings of most experiments say about their training."""

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


def make_usual_training(
    recipe: Recipe, learning_rate: float | Array | None = None, *, examples: PyTree, **parts: Any
) -> Training:
    """`make_training` with `adamw_warmup_cosine` over all epochs of the recipe, none left out.

    Args:
      recipe: an experiment's settings.
      learning_rate: may be traced; None: the recipe's.
      examples: the training set, as `make_training` takes it.
      parts: the other arguments of `make_training`.

    Raises:
      ValueError: there are fewer examples than one batch.
    """
    optimizer = adamw_warmup_cosine(
        recipe.learning_rate if learning_rate is None else learning_rate,
        recipe.weight_decay,
        recipe.max_gradient_norm,
        jax.tree.leaves(examples)[0].shape[0] // recipe.batch_size,
        recipe.epochs,
    )
    return make_training(
        optimizer=optimizer,
        examples=examples,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        patience=recipe.epochs,
        **parts,
    )


def start(params: PyTree, optimizer: optax.GradientTransformation, key: Array) -> TrainState:
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
        best_params=_where(better, state.params, state.best_params),
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
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E], as sweeps take it.

    Args:
      build: (settings, data, learning_rate) -> the training; the rate may be traced.
      settings: whose `learning_rate` is that of a `train` without one.
      data: whatever `build` takes.
    """

    def train_at(key: Array, learning_rate: float | Array = settings.learning_rate) -> Metrics:
        return train(build(settings, data, learning_rate), key)[1]

    return train_at


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
      num_batches: optimizer steps in an epoch.
      epochs: all of them, the first one included.
    """
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, num_batches, num_batches * epochs, 0.02)
    return optax.chain(
        optax.clip_by_global_norm(max_gradient_norm),
        optax.adamw(lambda step: learning_rate * shape(step), weight_decay=weight_decay),
    )


def map_batches(function: Callable[[PyTree], PyTree], inputs: PyTree, batch_size: int) -> PyTree:
    """Applies `function` to a pytree of arrays [N, ...], `batch_size` examples at a time.

    `function` must treat each example alone: the last batch is filled with zeros, whose results
    are cut off. Returns: what `function` returns, each array [N, ...].
    """
    num_examples = jax.tree.leaves(inputs)[0].shape[0]
    batch_size = rounded_up(batch_size)
    num_batches = -(-num_examples // batch_size)

    def batched(array: Array) -> Array:
        padding = [(0, num_batches * batch_size - num_examples)] + [(0, 0)] * (array.ndim - 1)
        return jnp.pad(array, padding).reshape(num_batches, batch_size, *array.shape[1:])

    batches = jax.tree.map(batched, inputs)
    outputs = jax.lax.map(lambda batch: function(spread(batch)), batches)

    def unbatched(array: Array) -> Array:
        return array.reshape(num_batches * batch_size, *array.shape[2:])[:num_examples]

    return jax.tree.map(unbatched, outputs)


def _where(condition: Array, new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
