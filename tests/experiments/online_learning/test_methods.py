"""The gradients: the exact ones agree, and truncated ones end where they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grujax
from experiments.online_learning.methods import (
    exact_gradient,
    init_network,
    make_method,
    sum_losses,
)
from experiments.online_learning.settings import Settings
from experiments.online_learning.tasks import join, make_task

SETTINGS = Settings(adding_steps=7, window=3, recall_lag=5)
ROWS, NUM = 2, 4


def windows_of(name: str):
    """A task, a network for it, and windows."""
    task = make_task(name, SETTINGS)
    network = init_network(jax.random.key(1), task, 3, 1.0)
    return task, network, task.draw("train", jax.random.key(2), NUM, ROWS)


def sum_gradients(method, network, windows):
    """The sum of the gradients of a stream's windows, at the same parameters."""

    def advance(loop, window):
        carry, part = method.gradient(network, loop[0], window)
        return (carry, jax.tree.map(jnp.add, loop[1], part)), None

    start = (method.init(network, ROWS, jax.random.key(3)), jax.tree.map(jnp.zeros_like, network))
    return jax.lax.scan(advance, start, windows)[0][1]


def assert_close(found, expected):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), found, expected
    )


@pytest.mark.parametrize("name", ["rtrl", "bptt"])
def test_exact_methods_agree_with_the_whole_stream(name):
    task, network, windows = windows_of("flip_flop")
    task = task._replace(history=NUM)  # as many as there are
    found = jax.jit(lambda: sum_gradients(make_method(name, task), network, windows))()
    assert_close(found, exact_gradient(task, network, join(windows, True)))


def test_truncation_is_that_of_the_library():
    """11 steps in pieces of 8, after one of 3."""
    task = make_task("adding", Settings(adding_steps=11))
    network = init_network(jax.random.key(1), task, 3, 1.0)
    window = jax.tree.map(lambda x: x[0], task.draw("train", jax.random.key(2), 1, ROWS))

    def loss(network):
        h, first = grujax.gru(network.cell, window.xs[:3])
        h, last = grujax.gru(
            network.cell, window.xs[3:], jax.lax.stop_gradient(h), stop_gradient_every=8
        )
        return sum_losses(task, network, jnp.concatenate([first, last]), window), h

    found = jax.jit(make_method("tbptt-8", task).gradient)(network, jnp.zeros((ROWS, 3)), window)
    expected, h = jax.grad(loss, has_aux=True)(network)
    assert_close(found, (h, expected))


def test_no_truncated_gradient_joins_a_bit_and_its_question():
    """RTRL's gradient depends on how the bit came in; a truncated one does so through hs alone."""
    task, network, windows = windows_of("recall")
    exact = exact_gradient(task, network, join(windows, True))
    truncated = sum_gradients(make_method("tbptt-32", task), network, windows)
    # The mark beside the bit is there only when the bit is: its weights get no gradient unless the
    # path from there to a question is whole.
    assert np.abs(exact.cell.w_x[:, 1]).max() > 0
    np.testing.assert_array_equal(truncated.cell.w_x[:, 1], 0)


def test_the_readout_alone_leaves_the_cell():
    task, network, windows = windows_of("flip_flop")
    window = jax.tree.map(lambda x: x[0], windows)
    _, found = make_method("readout", task).gradient(network, jnp.zeros((ROWS, 3)), window)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(found.cell))
    exact = exact_gradient(task, network, window)
    assert_close((found.weights, found.bias), (exact.weights, exact.bias))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["snap-1", "eprop", "uoro"])
def test_an_approximation_has_the_exact_gradient_of_the_readout(name):
    task, network, windows = windows_of("flip_flop")
    found = jax.jit(lambda: sum_gradients(make_method(name, task), network, windows))()
    exact = exact_gradient(task, network, join(windows, True))
    assert_close((found.weights, found.bias), (exact.weights, exact.bias))
    assert np.abs(found.cell.w_h - exact.cell.w_h).max() > 1e-4
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
