"""Networks that see whole images."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from experiments.images.networks import ConvNet, ReNet, RowReader, from_module
from grujax.linen import BidirectionalGRU

IMAGES = np.random.default_rng(0).uniform(size=(4, 28, 28)).astype(np.float32)
RENET = ReNet(3, patch=7, dropout=0.5)
READER = RowReader(4, num_layers=2, dropout=0.5)
MODULES = {"rows": READER, "ReNet": RENET, "CNN": ConvNet(2, dropout=0.5)}


@cache
def init(module):
    return jax.jit(from_module(module).init)(jax.random.key(0))


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_dropout_follows_the_key_and_examples_are_independent(module):
    network = from_module(module)
    params, logits = init(module), jax.jit(network.logits)
    expected = logits(params, IMAGES, None)
    assert expected.shape == (4, 10)
    np.testing.assert_allclose(logits(params, IMAGES[::-1], None)[::-1], expected, atol=1e-5)
    first, again, other = (logits(params, IMAGES, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("module", [READER, RENET], ids=["rows", "ReNet"])
def test_logits_depend_on_every_pixel(module):
    network = from_module(module)
    params = init(module)
    by_pixel = jax.jit(jax.grad(lambda image: network.logits(params, image, None)[0, 0]))
    assert np.all(by_pixel(jnp.asarray(IMAGES[:1])) != 0)


def test_renet_sweeps_columns_then_rows():
    """Compared with patch by patch calls of `grujax.bidirectional_gru`."""
    params = init(RENET)
    layers = [
        BidirectionalGRU(3).apply({"params": params["params"][name]}, size, method="gru_params")
        for name, size in (("columns", 49), ("rows", 6))
    ]
    patches = IMAGES[0].reshape(4, 7, 4, 7).swapaxes(1, 2).reshape(4, 4, 49)  # [row, column, 7²]
    np.testing.assert_array_equal(patches[1, 2].reshape(7, 7), IMAGES[0, 7:14, 14:21])
    columns = [grujax.bidirectional_gru(layers[0], patches[:, column])[1] for column in range(4)]
    rows = [
        grujax.bidirectional_gru(layers[1], jnp.stack([hs[row] for hs in columns]))[1]
        for row in range(4)
    ]
    dense = params["params"]["Dense_0"]
    expected = jnp.stack(rows).ravel() @ dense["kernel"] + dense["bias"]
    found = RENET.apply(params, IMAGES[:1])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
