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
from experiments.common.cells import CELLS, closest_size, parameter_shapes
from experiments.common.rivals.cells import MIN_GRU_LAYERS, RIVALS, stack
from experiments.memory.tricks import Trick, init_cell
from experiments.vision.digits import CLASSES
from grujax.analysis import GradientFlow, cell_gradient_flow
from grujax.baselines import count_parameters, init_min_gru
from grujax.initializers import chrono

READINGS = {"rows": (28, 28), "14x14": (196, 1), "permuted": (196, 1), "pixels": (784, 1)}  # T, I
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


def init_layers(cell: str, reading: str, hidden_size: int, key: Array) -> Any:
    """Draws the parameters of a cell, one of RIVALS, for long sequences.

    Recurrent matrices are orthogonal, and gate biases are chrono, for memories of 2 to T steps; see
    `experiments.memory.tricks`. A Transformer has no gates.
    """
    steps, input_size = READINGS[reading]
    if cell == "transformer":
        return RIVALS[cell].init(key, input_size, hidden_size)
    if cell == "min_gru":
        layer = CELLS[cell]._replace(init=partial(init_min_gru, update_bias_init=chrono(steps)))
        return stack(layer, MIN_GRU_LAYERS).init(key, input_size, hidden_size)
    trick = Trick(orthogonal=True, chrono=True)
    return init_cell(cell, trick, input_size, hidden_size, steps, key)


@cache
def hidden_size_for(cell: str, reading: str, parameters: int) -> int:
    """The hidden size at which the recurrent layers have about this many parameters."""

    def count(hidden_size: int) -> int:
        init = partial(init_layers, cell, reading, hidden_size)
        return count_parameters(parameter_shapes(init))

    return closest_size(count, parameters)


def readout(params: dict[str, Any], output: Array) -> Array:
    """Computes logits [B, 10] from the output [B, H] after the last step."""
    return output @ params["weights"] + params["bias"]


def cell_network(cell: str, reading: str, parameters: int) -> Network:
    """Makes a cell of `experiments.common.rivals` that classifies by its last output.

    Args:
      cell: its name.
      reading: how images become sequences, one of `READINGS`.
      parameters: the approximate size of the recurrent layers.
    """
    hidden_size = hidden_size_for(cell, reading, parameters)
    rival = RIVALS[cell]

    def init(key: Array) -> dict[str, Any]:
        layers_key, readout_key = jax.random.split(key)
        weights = jax.random.normal(readout_key, (hidden_size, CLASSES)) / hidden_size**0.5
        layers = init_layers(cell, reading, hidden_size, layers_key)
        return {"layers": layers, "weights": weights, "bias": jnp.zeros(CLASSES)}

    def logits(params: dict[str, Any], images: Array, key: Array | None = None) -> Array:
        del key
        xs, layers = as_sequence(images, reading), params["layers"]
        if cell == "min_gru":
            # On few cores, it is twice as fast step by step as with a parallel scan.
            start = rival.initial_state((len(images), hidden_size), xs.dtype)
            state_last, _ = grujax.scan_cell(rival.step, layers, xs, start)
        else:
            state_last, _ = rival.run(layers, xs)
        return readout(params, rival.output(state_last))

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

    def loss(state: Any, _: Any) -> Array:
        log_probabilities = jax.nn.log_softmax(readout(params, RIVALS[cell].output(state)))
        return -jnp.take_along_axis(log_probabilities, labels[:, None], 1).mean()

    layers, xs = params["layers"], as_sequence(images, reading)
    start = RIVALS[cell].initial_state((len(images), layers.hidden_size), jnp.float32)
    return cell_gradient_flow(RIVALS[cell].step, layers, xs, start, loss)
