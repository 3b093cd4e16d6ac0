"""One training, and the gradient while parameters change at every step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.online_learning import every_step, training
from experiments.online_learning.methods import Method, make_method
from experiments.online_learning.settings import Settings
from experiments.online_learning.tasks import Window, make_task

SETTINGS = Settings(
    hidden_size=3,
    batch_size=2,
    updates=4,
    every=2,
    block=2,
    window=3,
    pulse_rate=0.3,
    online_windows=4,
)


@pytest.fixture(scope="module")
def bench():
    return training.make_bench(SETTINGS, make_task("flip_flop", SETTINGS))


def test_the_cosine_of_pytrees():
    tree = {"a": np.array([3.0, 0.0]), "b": np.array([[4.0]])}
    assert training.cosine(tree, jax.tree.map(lambda x: 2 * x, tree)) == pytest.approx(1)
    other = {"a": np.array([0.0, 5.0]), "b": np.array([[0.0]])}
    assert training.cosine(tree, other) == 0
    assert training.cosine(tree, jax.tree.map(np.zeros_like, tree)) == 0


@pytest.mark.slow
def test_exact_methods_learn_alike_and_have_a_cosine_of_one(bench):
    task = bench.task._replace(history=8)
    curves = {
        name: training.make_train(bench, make_method(name, task))(0, 1e-2, "test")
        for name in ("bptt", "tbptt-1")
    }
    assert curves["bptt"]["updates"] == [0, 2, 4]
    np.testing.assert_allclose(curves["bptt"]["cosine"], 1, atol=1e-5)
    assert max(curves["tbptt-1"]["cosine"]) < 0.9999
    assert curves["bptt"]["loss"][0] == curves["tbptt-1"]["loss"][0]
    assert curves["bptt"]["loss"][-1] != curves["tbptt-1"]["loss"][-1]


@pytest.mark.parametrize(("name", "is_carried"), [("adding", False), ("flip_flop", True)])
def test_a_carry_passes_on_in_streams_alone(name, is_carried, bench):
    """A method that counts windows, and whose gradient is that number."""

    def gradient(network, count, window):
        zeros = jax.tree.map(jnp.zeros_like, network)
        return count + 1, zeros._replace(bias=jnp.full_like(network.bias, count))

    counter = Method(lambda network, rows, key: jnp.zeros(()), gradient)
    if name != "flip_flop":
        bench = training.make_bench(SETTINGS, make_task(name, SETTINGS))
    losses = training.make_train(bench, counter)(0, 1e-2, "test", probes=False)["loss"]
    assert (losses[-1] != losses[0]) == is_carried


@pytest.mark.slow
def test_at_a_rate_of_zero_the_gradient_of_every_step_is_exact(bench):
    advance = every_step.advance_every_step(bench)
    network = bench.init(jax.random.key(0))
    state = training.make_optimizer(SETTINGS, 0.0).init(network)
    stream = bench.draw("train", 0)
    for rate, is_exact in ((0.0, True), (0.1, False)):
        loop = (network, state, every_step.first_carry(bench, network))
        for i in range(every_step.REACH):
            window = jax.tree.map(lambda x: x[i], stream)  # noqa: B023
            *loop, found, at = advance(*loop, window, rate)
        seen = training.cut(stream, 0, every_step.REACH)
        exact = bench.exact_gradient(at, every_step.last_asked(seen))
        assert (every_step.deviation(found, exact) < 1e-4) == is_exact


def test_only_the_last_window_is_asked():
    weights = np.ones((3, 2, 1))
    windows = Window(np.zeros((3, 2, 1, 4)), np.zeros((3, 2, 1)), weights)
    joined = every_step.last_asked(windows)
    np.testing.assert_array_equal(joined.weights[:, 0], [0, 0, 0, 0, 1, 1])
    assert weights.all()
