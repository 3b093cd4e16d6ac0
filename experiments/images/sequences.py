"""Images as sequences, and recurrent cells that read a sequence and then classify the digit.

rows       28 steps of 28 pixels
14x14      196 steps of one gray value, the mean of four pixels
permuted   the same 196 in a random order, one for all images, so that neighbors in the image are
           far apart in time (Le et al. 2015, https://arxiv.org/abs/1504.00941)
pixels     784 steps of one pixel, row by row from the top left
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import grujax
from experiments.common.cells import CELLS, closest_size, run_cell
from experiments.memory.tricks import Trick, init_cell
from experiments.vision.digits import CLASSES
from grujax.analysis import GradientFlow, cell_gradient_flow
from grujax.baselines import count_parameters, init_min_gru
from grujax.initializers import chrono

READINGS = {"rows": (28, 28), "14x14": (196, 1), "permuted": (196, 1), "pixels": (784, 1)}  # T, I
LAYERS = {"min_gru": 3}  # stacked, since the gates of this cell do not read its state
_ORDER = np.random.default_rng(0).permutation(READINGS["permuted"][0])


def reading_title(reading: str) -> str:
    """Such as "pixels, T = 784"."""
    return f"{reading}, T = {READINGS[reading][0]}"


class Network(NamedTuple):
    """A classifier of images as pure functions."""

    init: Callable[[Array], Any]  # key -> parameters
    # (parameters, images [B, 28, 28] from 0 to 1, dropout key or None) -> logits [B, 10]
    logits: Callable[[Any, Array, Array | None], Array]


def as_sequence(images: Array, reading: str) -> Array:
    """Reshapes images [B, 28, 28] to sequences [T, B, I], see `READINGS`."""
    steps, size = READINGS[reading]
    if steps == 14 * 14:
        images = images.reshape(-1, 14, 2, 14, 2).mean((2, 4))
    xs = images.reshape(-1, steps, size)
    return (xs[:, _ORDER] if reading == "permuted" else xs).swapaxes(0, 1)


def init_layers(cell: str, reading: str, hidden_size: int, key: Array) -> list[Any]:
    """Draws the parameters of each layer for long sequences.

    Recurrent matrices are orthogonal, and gate biases are chrono, for memories of 2 to T steps; see
    `experiments.memory.tricks`.
    """
    steps, input_size = READINGS[reading]
    if cell in LAYERS:
        sizes = [input_size] + [hidden_size] * (LAYERS[cell] - 1)
        keys = jax.random.split(key, len(sizes))
        init = partial(init_min_gru, hidden_size=hidden_size, update_bias_init=chrono(steps))
        return [init(key, size) for key, size in zip(keys, sizes, strict=True)]
    trick = Trick(orthogonal=True, chrono=True)
    return [init_cell(cell, trick, input_size, hidden_size, steps, key)]


@cache
def hidden_size_for(cell: str, reading: str, parameters: int) -> int:
    """The hidden size at which the recurrent layers have about this many parameters."""

    def count(hidden_size: int) -> int:
        init = partial(init_layers, cell, reading, hidden_size)
        return count_parameters(jax.eval_shape(init, jax.random.key(0)))

    return closest_size(count, parameters)


def step_layers(cell: str, layers: list[Any], states: list[Any], x: Array) -> list[Any]:
    """Steps all layers, from the lowest up, on x [B, I]. Returns: the new states."""
    new_states = []
    for layer, state in zip(layers, states, strict=True):
        new_states.append(CELLS[cell].step(layer, state, x))
        x = CELLS[cell].output(new_states[-1])
    return new_states


def initial_states(cell: str, layers: list[Any], batch_size: int) -> list[Any]:
    """The states of all layers before the first step: zeros."""
    return [CELLS[cell].initial_state((batch_size, p.hidden_size), jnp.float32) for p in layers]


def readout(cell: str, params: dict[str, Any], states: list[Any]) -> Array:
    """Computes logits [B, 10] from the states of all layers after the last step."""
    return CELLS[cell].output(states[-1]) @ params["weights"] + params["bias"]


def cell_network(cell: str, reading: str, parameters: int) -> Network:
    """Makes a cell of `experiments.common.cells` that classifies by its last output.

    Args:
      cell: its name.
      reading: how images become sequences, one of `READINGS`.
      parameters: the approximate size of the recurrent layers.
    """
    hidden_size = hidden_size_for(cell, reading, parameters)

    def init(key: Array) -> dict[str, Any]:
        layers_key, readout_key = jax.random.split(key)
        weights = jax.random.normal(readout_key, (hidden_size, CLASSES)) / hidden_size**0.5
        layers = init_layers(cell, reading, hidden_size, layers_key)
        return {"layers": layers, "weights": weights, "bias": jnp.zeros(CLASSES)}

    def logits(params: dict[str, Any], images: Array, key: Array | None = None) -> Array:
        del key
        xs, layers = as_sequence(images, reading), params["layers"]
        if len(layers) == 1:
            return readout(cell, params, [run_cell(cell, layers[0], xs)[0]])
        # On few cores, minimal GRUs are twice as fast step by step as with a parallel scan.
        start = initial_states(cell, layers, len(images))
        states, _ = grujax.scan_cell(partial(step_layers, cell), layers, xs, start)
        return readout(cell, params, states)

    return Network(init, logits)


def gradient_flow(
    cell: str, reading: str, params: dict[str, Any], images: Array, labels: Array
) -> GradientFlow:
    """Measures the loss's gradient with respect to the states of all layers at each step.

    Args:
      cell: name of the network's cell.
      reading: how images become sequences.
      params: of the network.
      images: [B, 28, 28], from 0 to 1.
      labels: [B].
    """

    def loss(states: list[Any], _: Any) -> Array:
        log_probabilities = jax.nn.log_softmax(readout(cell, params, states))
        return -jnp.take_along_axis(log_probabilities, labels[:, None], 1).mean()

    layers, xs = params["layers"], as_sequence(images, reading)
    start = initial_states(cell, layers, len(images))
    return cell_gradient_flow(partial(step_layers, cell), layers, xs, start, loss)
