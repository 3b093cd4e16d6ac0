"""Training on long sequences by truncated backpropagation through time.

A long sequence is cut into B streams that are read in parallel, segment by segment. The state at
the end of a segment is the initial state of the next one, and gradients stop at the start of a
segment. Shuffling would break the streams, so this file has its own version of
`training.make_training`, which returns the same `Training`.

Reference: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of
recurrent network trajectories", Neural Computation 2.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common.training import Metrics, Training, TrainState, end_epoch, init_train_state
from experiments.common.training.gradients import value_and_gradient
from experiments.common.training.scale import ONE_DEVICE, Scale

PyTree = Any


def cut_streams(symbols: np.ndarray, batch_size: int, steps: int, parts: int) -> np.ndarray:
    """Cuts a sequence into B streams, each into parts with equally many segments.

    Args:
      symbols: [N]. The remainder, fewer than T·B·parts symbols, is dropped.
      batch_size: B.
      steps: T, the length of a segment.
      parts: per stream; the training is evaluated after every part.

    Returns: [parts, segments, T + 1, B]: the first T rows of a segment are inputs, the last T rows
      their targets. Stream b continues in column b of the next segment and the next part.

    Raises:
      ValueError: there is less than one segment per part and stream.
    """
    segments = (len(symbols) - 1) // (batch_size * steps * parts)
    if segments == 0:
        raise ValueError(
            f"{len(symbols)} symbols do not fill {parts} parts of {batch_size} streams with "
            f"segments of {steps} steps, which takes {batch_size * steps * parts + 1}."
        )
    length = parts * segments * steps
    starts = np.arange(parts * segments)[:, None] * steps + np.arange(steps + 1)
    places = starts[..., None] + np.arange(batch_size) * length
    return symbols[places].reshape(parts, segments, steps + 1, batch_size)


def make_streaming_training(
    *,
    init_params: Callable[[Array], PyTree],
    initial_state: PyTree,
    loss: Callable[[PyTree, PyTree, Array], tuple[Array, PyTree]],
    evaluate: Callable[[PyTree], Metrics],
    score: str,
    optimizer: optax.GradientTransformation,
    streams: Array,
    epochs: int,
) -> Training:
    """Builds a `Training` whose epochs read one part of the streams each.

    Args:
      init_params: key -> parameters.
      initial_state: the recurrent state [B, ...] at the start of a stream.
      loss: (parameters, state, segment [T + 1, B]) -> [] mean loss, the state after the segment.
      evaluate: parameters -> metrics on the validation set.
      score: the metric that selects the best epoch; higher is better.
      optimizer: the Optax optimizer, including its learning-rate schedule.
      streams: see `cut_streams`.
      epochs: the number of epochs. After the last part the streams start again.
    """
    parts = streams.shape[0]

    def init(key: Array) -> TrainState:
        params_key, key = jax.random.split(key)
        return init_train_state(init_params(params_key), optimizer, key)._replace(
            carried=initial_state
        )

    def segment_loss(params, batch, _):
        return loss(params, *batch)

    def step(scale, carry, segment):
        params, optimizer_state, carried = carry
        batch = jax.lax.stop_gradient(carried), segment
        gradient_fn = value_and_gradient(segment_loss, scale, row_axes=(0, 1), has_aux=True)
        unused_key = jax.random.key(0)
        (value, new), gradient = gradient_fn(params, batch, unused_key)
        carried = jax.tree.map(lambda new, old: new.astype(old.dtype), new, carried)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state, carried), value

    def epoch(state: TrainState, scale: Scale = ONE_DEVICE) -> tuple[TrainState, Metrics]:
        part = state.epoch % parts
        carried = jax.tree.map(
            lambda old, initial: jnp.where(part == 0, initial, old),
            state.carried,
            initial_state,
        )
        (params, optimizer_state, carried), losses = jax.lax.scan(
            partial(step, scale),
            (state.params, state.optimizer_state, carried),
            streams[part],
        )
        state = state._replace(params=params, optimizer_state=optimizer_state, carried=carried)
        metrics = evaluate(params)
        return end_epoch(state, metrics[score]), {"train_loss": losses.mean(), **metrics}

    return Training(init, epoch, epochs, patience=epochs, rows=streams.shape[-1])
