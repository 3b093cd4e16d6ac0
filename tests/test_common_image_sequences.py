"""Images as sequences, the cells that read them, and how far back their gradients reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import image_sequences
from experiments.common.cells import CELLS
from experiments.common.digits import as_pixels
from experiments.common.image_networks import ConvNet, ReNet, RowReader, from_module
from experiments.common.image_sequences import (
    READINGS,
    as_sequence,
    cell_network,
    gradient_flow,
    hidden_size_for,
)
from grujax.baselines import count_parameters

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 28, 28))
LABELS = np.array([3, 1, 4, 1])
every_cell = pytest.mark.parametrize("cell", ["gru", "lstm", "min_gru", "rnn"])


def test_sequences_are_the_rows_or_the_pixels():
    for reading, (steps, size) in READINGS.items():
        assert as_sequence(jnp.asarray(IMAGES), reading).shape == (steps, 4, size)
    np.testing.assert_array_equal(as_sequence(IMAGES, "rows")[5], IMAGES[:, 5])
    pixels = as_sequence(IMAGES, "pixels")[..., 0].T
    np.testing.assert_array_equal(pixels, as_pixels(IMAGES))
    small = as_sequence(IMAGES, "14x14")[..., 0].T
    np.testing.assert_array_equal(np.rint(small), as_pixels(IMAGES, 14))


def test_permuted_is_one_order_for_all():
    ordered = np.asarray(as_sequence(IMAGES, "14x14"))
    permuted = np.asarray(as_sequence(IMAGES, "permuted"))
    assert np.all(np.any(permuted != ordered, 0))
    np.testing.assert_array_equal(np.sort(permuted, 0), np.sort(ordered, 0))
    one = np.asarray(as_sequence(np.arange(784).reshape(1, 28, 28), "permuted"))
    order = np.argsort(np.argsort(one[:, 0, 0]))
    np.testing.assert_array_equal(permuted, ordered[order])


@every_cell
def test_cells_have_equally_many_parameters(cell):
    for reading in ("rows", "pixels"):
        layers = cell_network(cell, reading, 8000).init(KEY)["layers"]
        assert abs(count_parameters(layers) - 8000) < 400
        assert layers[0].hidden_size == hidden_size_for(cell, reading, 8000)


@every_cell
def test_the_last_output_says_the_digit(cell):
    """A loop over the steps, with the library's own cell."""
    network = cell_network(cell, "rows", 300)
    params = network.init(KEY)
    images = IMAGES / 255
    outputs = list(images.swapaxes(0, 1))
    for layer in params["layers"]:
        state = CELLS[cell].initial_state((4, layer.hidden_size), jnp.float32)
        for t, x in enumerate(outputs):
            state = CELLS[cell].step(layer, state, x)
            outputs[t] = CELLS[cell].output(state)
    expected = outputs[-1] @ params["weights"] + params["bias"]
    found = network.logits(params, jnp.asarray(images), None)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gates_begin_with_memories_of_the_sequences_length():
    for reading in ("rows", "pixels"):
        layer = cell_network("gru", reading, 3000).init(KEY)["layers"][0]
        memories = 1 + np.exp(layer.b_x[1])
        steps = READINGS[reading][0]
        assert 1.9 < memories.min() < steps / 10 + 2
        assert steps / 2 < memories.max() <= steps + 1


@every_cell
def test_gradients_by_the_last_state(cell):
    """Where the loss enters, the gradient is that of the readout; its profile is relative to it."""
    params = cell_network(cell, "rows", 200).init(KEY)
    images = jnp.asarray(IMAGES / 255, jnp.float32)
    flow = gradient_flow(cell, "rows", params, images, LABELS)
    network = cell_network(cell, "rows", 200)
    logits = network.logits(params, images, None)
    by_logits = (jax.nn.softmax(logits) - jax.nn.one_hot(LABELS, 10)) / 4
    expected = np.linalg.norm(by_logits @ params["weights"].T, axis=-1)
    np.testing.assert_allclose(flow.norms[0, -1], expected, rtol=1e-4)
    assert flow.profile.shape == (1, 28)
    assert flow.profile[0, 0] == pytest.approx(1)


def test_gradients_of_a_plain_network_are_products_of_jacobians():
    params = image_sequences.cell_network("rnn", "rows", 200).init(KEY)
    images = jnp.asarray(IMAGES / 255, jnp.float32)
    flow = gradient_flow("rnn", "rows", params, images, LABELS)
    layer, states = params["layers"][0], [jnp.zeros((4, params["layers"][0].hidden_size))]
    for x in images.swapaxes(0, 1):
        states.append(jnp.tanh(x @ layer.w_x + states[-1] @ layer.w_h + layer.b))
    logits = states[-1] @ params["weights"] + params["bias"]
    gradient = (jax.nn.softmax(logits) - jax.nn.one_hot(LABELS, 10)) / 4 @ params["weights"].T
    for t in range(27, -1, -1):
        np.testing.assert_allclose(
            flow.norms[0, t], np.linalg.norm(gradient, axis=-1), rtol=1e-3, atol=1e-7
        )
        gradient = (gradient * (1 - states[t + 1] ** 2)) @ layer.w_h.T


MODULES = {
    "rows": RowReader(4, num_layers=2, dropout=0.5),
    "ReNet": ReNet(3, patch=7, dropout=0.5),
    "CNN": ConvNet(2, dropout=0.5),
}
every_module = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)


@every_module
def test_modules_drop_in_training_alone(module):
    network = from_module(module)
    params = network.init(KEY)
    images = jnp.asarray(IMAGES / 255, jnp.float32)
    logits = jax.jit(network.logits)
    quiet = logits(params, images, None)
    assert quiet.shape == (4, 10)
    np.testing.assert_allclose(logits(params, images[:1], None), quiet[:1], atol=1e-5)
    first, again, other = (logits(params, images, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@every_module
def test_every_pixel_counts(module):
    network = from_module(module)
    params = network.init(jax.random.key(1))
    image = jnp.asarray(IMAGES[:1] / 255, jnp.float32)
    if isinstance(module, ConvNet):  # the largest of four hides the others
        pytest.skip("its pooling looks away")
    gradient = jax.jit(jax.grad(lambda image: network.logits(params, image, None)[0, 0]))(image)
    assert np.all(gradient != 0)


def test_renet_sweeps_columns_then_rows():
    """By hand: down and up each column of squares, then along each row of what came out."""
    import grujax

    module = ReNet(3, patch=7, dropout=0.5)
    params = from_module(module).init(KEY)
    bound = module.bind(params)
    sweeps = []
    for name, size in (("columns", 49), ("rows", 6)):
        from grujax.linen import BidirectionalGRU

        layer = BidirectionalGRU(3)
        sweeps.append(
            layer.apply({"params": params["params"][name]}, size, method="gru_params")
        )
    image = IMAGES[0] / 255
    squares = np.array([[image[7 * r : 7 * r + 7, 7 * c : 7 * c + 7].ravel() for c in range(4)] for r in range(4)])
    vertical = np.zeros((4, 4, 6), np.float32)
    for c in range(4):
        _, vertical[:, c] = grujax.bidirectional_gru(sweeps[0], jnp.asarray(squares[:, c], jnp.float32))
    horizontal = np.zeros((4, 4, 6), np.float32)
    for r in range(4):
        _, horizontal[r] = grujax.bidirectional_gru(sweeps[1], jnp.asarray(vertical[r]))
    dense = params["params"]["Dense_0"]
    expected = horizontal.ravel() @ dense["kernel"] + dense["bias"]
    np.testing.assert_allclose(bound(jnp.asarray(image[None], jnp.float32))[0], expected, atol=1e-5)
