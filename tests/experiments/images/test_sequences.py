"""Images as sequences, the cells that classify them, and their gradient flow."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.rivals.cells import RIVALS
from experiments.images.sequences import (
    READINGS,
    as_sequence,
    cell_network,
    gradient_flow,
    hidden_size_for,
)
from experiments.vision.digits import as_pixels
from grujax.baselines import count_parameters

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 28, 28))
LABELS = np.array([3, 1, 4, 1])
IN_UNITS = jnp.asarray(IMAGES / 255, jnp.float32)
every_cell = pytest.mark.parametrize("cell", ["gru", "lstm", "min_gru", "rnn"])
every_network = pytest.mark.parametrize("cell", list(RIVALS))


@cache
def make(cell: str, reading: str = "rows", parameters: int = 200):
    """A network and its parameters."""
    network = cell_network(cell, reading, parameters)
    return network, jax.jit(network.init)(jax.random.key(0))


def test_sequences_are_rows_or_pixels():
    for reading, (steps, size) in READINGS.items():
        assert as_sequence(jnp.asarray(IMAGES), reading).shape == (steps, 4, size)
    np.testing.assert_array_equal(as_sequence(IMAGES, "rows")[5], IMAGES[:, 5])
    pixels = as_sequence(IMAGES, "pixels")[..., 0].T
    np.testing.assert_array_equal(pixels, as_pixels(IMAGES))
    small = as_sequence(IMAGES, "14x14")[..., 0].T
    np.testing.assert_array_equal(np.rint(small), as_pixels(IMAGES, 14))


def test_one_permutation_for_all_images():
    ordered = np.asarray(as_sequence(IMAGES, "14x14"))
    permuted = np.asarray(as_sequence(IMAGES, "permuted"))
    assert np.all(np.any(permuted != ordered, 0))
    np.testing.assert_array_equal(np.sort(permuted, 0), np.sort(ordered, 0))
    one = np.asarray(as_sequence(np.arange(784).reshape(1, 28, 28), "permuted"))
    order = np.argsort(np.argsort(one[:, 0, 0]))
    np.testing.assert_array_equal(permuted, ordered[order])
    assert np.abs(np.diff(order)).mean() > 50  # of 196 steps; neighbors are far apart


@every_network
def test_cells_have_the_requested_size(cell):
    network = cell_network(cell, "pixels", 8000)
    layers = jax.eval_shape(network.init, jax.random.key(0))["layers"]
    assert abs(count_parameters(layers) - 8000) < 400
    assert layers.hidden_size == hidden_size_for(cell, "pixels", 8000)


@every_network
def test_logits_are_those_of_the_last_output(cell):
    """Compared with a Python loop over the steps."""
    network, params = make(cell)
    rival, layers = RIVALS[cell], params["layers"]
    state = rival.initial_state((4, layers.hidden_size), jnp.float32)
    for x in IN_UNITS.swapaxes(0, 1):
        state = rival.step(layers, state, x)
    expected = rival.output(state) @ params["weights"] + params["bias"]
    found = network.logits(params, IN_UNITS, None)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("reading", ["rows", "pixels"])
def test_initial_gates_have_memories_up_to_the_length(reading):
    memories = 1 + np.exp(make("gru", reading, 3000)[1]["layers"].b_x[1])
    steps = READINGS[reading][0]
    assert 1.9 < memories.min() < steps / 10 + 2
    assert steps / 2 < memories.max() <= steps + 1


@every_cell
def test_gradient_at_the_last_state_is_that_of_the_readout(cell):
    network, params = make(cell)
    flow = gradient_flow(cell, "rows", params, IN_UNITS, LABELS)
    logits = network.logits(params, IN_UNITS, None)
    logits_gradient = (jax.nn.softmax(logits) - jax.nn.one_hot(LABELS, 10)) / 4
    expected = np.linalg.norm(logits_gradient @ params["weights"].T, axis=-1)
    np.testing.assert_allclose(flow.norms[0, -1], expected, rtol=1e-4)
    assert flow.profile.shape == (1, 28)
    assert flow.profile[0, 0] == pytest.approx(1)


def test_gradients_of_an_rnn_are_products_of_jacobians():
    _, params = make("rnn")
    flow = gradient_flow("rnn", "rows", params, IN_UNITS, LABELS)
    layer = params["layers"]
    states = [np.zeros((4, layer.hidden_size))]
    for x in IN_UNITS.swapaxes(0, 1):
        states.append(np.tanh(x @ layer.w_x + states[-1] @ layer.w_h + layer.b))
    logits = states[-1] @ params["weights"] + params["bias"]
    gradient = (jax.nn.softmax(logits) - jax.nn.one_hot(LABELS, 10)) / 4 @ params["weights"].T
    for norm, state in zip(flow.norms[0][::-1], states[:0:-1], strict=True):
        np.testing.assert_allclose(norm, np.linalg.norm(gradient, axis=-1), rtol=1e-3, atol=1e-7)
        gradient = (gradient * (1 - state**2)) @ layer.w_h.T
