"""The adding problem (Hochreiter & Schmidhuber 1997): add the two marked numbers of a sequence.

Each step shows a number in [0, 1) and a mark. One step in the first half and one in the second are
marked; the target is the sum of their numbers. Always answering 1 has a mean squared error of 1/6.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

# The problem counts as solved below this error, 6% of the targets' variance.
SOLVED = 0.01


def draw_batch(key: Array, steps: int, batch_size: int) -> tuple[Array, Array]:
    """Draws sequences `xs [T, B, 2]`, number and mark, and targets `[B]`."""
    number_key, mark_key = jax.random.split(key)
    half = steps // 2
    numbers = jax.random.uniform(number_key, (steps, batch_size))
    marked = jax.random.randint(mark_key, (2, batch_size), 0, jnp.array([[half], [steps - half]]))
    marked = marked + jnp.array([[0], [half]])
    marks = jax.nn.one_hot(marked, steps, axis=0).sum(1)  # [T, B]
    return jnp.stack([numbers, marks], -1), (numbers * marks).sum(0)


class Learner(NamedTuple):
    """A training as pure functions of its state: the parameters and the optimizer's state."""

    start: Callable[[Array, Array], Any]  # (key of the layer, key of the readout) -> state
    update: Callable[[Any, Array], tuple[Any, Array]]  # (state, key) -> (state, batch error)
    error: Callable[[Any, Array, Array], Array]  # (state, xs [T, B, 2], targets [B]) -> []


def make_learner(
    init: Callable[[Array], Any],
    last_output: Callable[[Any, Array], Array],
    hidden_size: int,
    learning_rate: float | Array,
    max_gradient_norm: float | Array = 1.0,
    *,
    steps: int,
    batch_size: int,
) -> Learner:
    """Makes a recurrent layer with a linear readout that learns by Adam; see `train`.

    The state depends on neither the learning rate nor the gradient norm, so a learner with other
    values can continue from it.
    """
    optimizer = optax.chain(optax.clip_by_global_norm(max_gradient_norm), optax.adam(learning_rate))

    def start(layer_key: Array, readout_key: Array) -> Any:
        readout = jax.random.normal(readout_key, (hidden_size,)) / hidden_size**0.5
        params = (init(layer_key), readout, jnp.zeros(()))
        return params, optimizer.init(params)

    def loss(params: Any, xs: Array, targets: Array) -> Array:
        layer, weights, bias = params
        return jnp.mean((last_output(layer, xs) @ weights + bias - targets) ** 2)

    def update(state: Any, key: Array) -> tuple[Any, Array]:
        params, optimizer_state = state
        value, gradient = jax.value_and_grad(loss)(params, *draw_batch(key, steps, batch_size))
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        return (optax.apply_updates(params, updates), optimizer_state), value

    return Learner(start, update, lambda state, xs, targets: loss(state[0], xs, targets))


def train(
    key: Array,
    init: Callable[[Array], Any],
    last_output: Callable[[Any, Array], Array],
    hidden_size: int,
    learning_rate: float | Array,
    max_gradient_norm: float | Array = 1.0,
    *,
    steps: int,
    batch_size: int,
    updates: int,
) -> dict[str, Array]:
    """Trains a recurrent layer with a linear readout by Adam, with clipped gradients.

    Args:
      key: a JAX random key.
      init: key -> the layer's parameters.
      last_output: (parameters, xs [T, B, 2]) -> the output after the last step, [B, H].
      hidden_size: H.
      learning_rate: may be traced.
      max_gradient_norm: to which the norm of all gradients together is clipped; may be traced.
      steps: T.
      batch_size: B; each batch is newly drawn.
      updates: the number of optimizer steps.

    Returns: "error", the mean squared error over the last tenth of the batches, none of which was
      seen before; "solved", 1.0 if that is below SOLVED; "errors" [20], means of twentieths.
    """
    init_key, readout_key, data_key = jax.random.split(key, 3)
    learner = make_learner(
        init,
        last_output,
        hidden_size,
        learning_rate,
        max_gradient_norm,
        steps=steps,
        batch_size=batch_size,
    )
    state = learner.start(init_key, readout_key)
    _, errors = jax.lax.scan(learner.update, state, jax.random.split(data_key, updates))
    error = errors[-(-9 * updates // 10) :].mean()
    curve = errors[updates % 20 :].reshape(20, -1).mean(1)
    return {"error": error, "solved": jnp.where(error < SOLVED, 1.0, 0.0), "errors": curve}
