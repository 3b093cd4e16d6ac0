"""One training of `experiments.training_difficulty`; it ends early when its task is solved."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from experiments.common.cells import CELLS, hidden_size_for
from experiments.memory.tricks import Trick
from experiments.training_difficulty.recurrences import Recurrence, make_recurrence
from experiments.training_difficulty.tasks import Task
from grujax.analysis import cell_gradient_flow

FLOW_ROWS = 32  # held-out sequences over which gradient flow is measured


def train(
    key: Array,
    task: Task,
    cell: str,
    trick: Trick,
    *,
    parameters: int,
    learning_rate: float,
    batch_size: int,
    cap: int,
    every: int,
) -> dict[str, Array]:
    """Trains a recurrent layer with a linear readout by Adam until its task is solved or to `cap`.

    Args:
      key: a JAX random key. Equal keys give equal data, regardless of the trick.
      task: the task to learn.
      cell: "rnn", "lstm" or "gru".
      trick: see `experiments.memory.tricks`.
      parameters: the approximate size of the recurrent layer.
      learning_rate: Adam's.
      batch_size: B; each batch is newly drawn.
      cap: the maximum number of optimizer steps.
      every: optimizer steps between evaluations on the held-out sequences; it divides `cap`.

    Returns: an error is a loss divided by the loss of guessing.
      "error": on the held-out sequences at the end.
      "errors" [cap / every]: the same at each evaluation, constant after the end of the training.
      "solved": 1.0 or 0.0.
      "updates": the number of optimizer steps taken.
      "learned": 1 minus the mean of "errors", each clipped to at most 1.
      "flow_before", "flow_after" [T]: profiles of the last answer's loss, of the untrained and the
        trained network; see `experiments.memory.gradient_flow`.
    """
    xs, targets = task.held_out
    steps, _, input_size = xs.shape
    hidden_size = hidden_size_for(CELLS[cell], input_size, parameters)
    recurrence = make_recurrence(cell, trick, input_size, hidden_size, steps)
    params = _init(jax.random.fold_in(key, 0), recurrence, hidden_size, task.num_outputs)
    optimizer = optax.chain(
        optax.clip_by_global_norm(trick.max_gradient_norm), optax.adam(learning_rate)
    )

    def loss(params: Any, xs: Array, targets: Array, key: Array | None) -> Array:
        layer, weights, bias = params
        hs = recurrence.run(layer, xs, key)[-len(targets) :]
        return task.loss(hs @ weights + bias, targets)

    def update(carry: Any, key: Array) -> tuple[Any, None]:
        params, state = carry
        data_key, noise_key = jax.random.split(key)
        gradient = jax.grad(loss)(params, *task.draw(data_key, batch_size), noise_key)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    def train_and_evaluate(carry: Any) -> Any:
        training, errors, index = carry
        keys = jax.random.split(jax.random.fold_in(key, 1 + index), every)
        training, _ = jax.lax.scan(update, training, keys)
        error = loss(training[0], xs, targets, None) / task.guessing
        return training, jnp.where(jnp.arange(len(errors)) < index, errors, error), index + 1

    def is_unsolved(carry: Any) -> Array:
        _, errors, index = carry
        return (index < len(errors)) & (errors[-1] >= task.solved)  # false for NaN, too

    start = ((params, optimizer.init(params)), jnp.full(cap // every, jnp.inf), 0)
    (trained, _), errors, index = jax.lax.while_loop(is_unsolved, train_and_evaluate, start)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, trained)
    flows = jax.lax.map(lambda params: _flow(recurrence, task, params), both)
    return {
        "error": errors[-1],
        "errors": errors,
        "solved": jnp.where(errors[-1] < task.solved, 1.0, 0.0),
        "updates": index * every,
        "learned": 1 - jnp.nan_to_num(errors, nan=1.0).clip(max=1.0).mean(),
        "flow_before": flows[0],
        "flow_after": flows[1],
    }


def _init(key: Array, recurrence: Recurrence, hidden_size: int, num_outputs: int) -> Any:
    """Draws (layer, readout weights [H, O], readout bias [O])."""
    layer_key, readout_key = jax.random.split(key)
    weights = jax.random.normal(readout_key, (hidden_size, num_outputs)) / hidden_size**0.5
    return recurrence.init(layer_key), weights, jnp.zeros(num_outputs)


def _flow(recurrence: Recurrence, task: Task, params: Any) -> Array:
    """The profile [T] of the last answer's loss."""
    layer, weights, bias = params
    xs, targets = (array[:, :FLOW_ROWS] for array in task.held_out)

    def last_loss(state: Any, states: Any) -> Array:
        return task.loss((recurrence.output(state) @ weights + bias)[None], targets[-1:])

    start = recurrence.initial_state(xs.shape[1])
    return cell_gradient_flow(recurrence.step, layer, xs, start, last_loss).profile[0]
