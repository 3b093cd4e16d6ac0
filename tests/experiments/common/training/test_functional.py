"""Training as a pure function: sweeps, early stopping, too few examples."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.common import training
from tests.fixtures.linear_regression import make_training


def test_a_sweep_is_a_vmap_over_the_pure_training():
    def final(learning_rate):
        return training.train(make_training(learning_rate), jax.random.key(0))[1]["train_loss"][-1]

    rates = jnp.array([0.001, 0.1])
    np.testing.assert_allclose(jax.vmap(final)(rates), [final(r) for r in rates], rtol=1e-5)


def test_early_stopping_keeps_the_best_parameters():
    plan = make_training(learning_rate=-0.05, patience=2)  # each epoch is worse than the last
    state, metrics = training.train(plan, jax.random.key(0))
    assert int(state.epoch) == 3
    assert np.isnan(metrics["train_loss"]).tolist() == [False] * 3 + [True] * 3
    first, _ = plan.epoch(plan.init(jax.random.key(0)))
    np.testing.assert_allclose(state.best_params["w"], first.params["w"], rtol=1e-6)


def test_fewer_examples_than_a_batch():
    with pytest.raises(ValueError, match="3 training examples do not fill a batch of 16"):
        training.make_training(
            init_params=lambda key: {},
            loss=lambda *_: jnp.float32(0),
            evaluate=lambda _: {},
            score="",
            optimizer=optax.sgd(1.0),
            examples=jnp.zeros(3),
            batch_size=16,
            epochs=1,
            patience=1,
        )


def test_as_function_is_pure_and_can_be_swept():
    """As `make_train` of every experiment: the default learning rate, a given one, and a vmap."""
    settings = SimpleNamespace(learning_rate=0.1)

    def build(settings, data, learning_rate):
        assert data == "data"
        return make_training(learning_rate)

    train = training.as_function(build, settings, "data")
    key = jax.random.key(0)
    default = jax.jit(train)(key)["train_loss"]
    swept = jax.jit(jax.vmap(partial(train, key)))(jnp.array([0.001, 0.1]))["train_loss"]
    assert swept.shape == (2, 6)
    np.testing.assert_allclose(swept[1], default, rtol=1e-5)
    assert swept[1, -1] < swept[0, -1]


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_the_learning_rate_warms_up_for_an_epoch_and_falls_until_the_end(epochs):
    optimizer = training.adamw_warmup_cosine(1.0, 0.0, 1e9, num_batches=4, epochs=epochs)
    state, rates = optimizer.init(jnp.zeros(())), []
    for _ in range(4 * epochs):
        update, state = optimizer.update(jnp.ones(()), state, jnp.zeros(()))
        rates.append(-float(update))  # Adam divides a constant gradient by itself
    np.testing.assert_allclose(rates[:4], [0, 0.25, 0.5, 0.75], atol=1e-5)
    assert epochs == 1 or rates[4] == pytest.approx(1, abs=1e-5)
    assert rates[4:] == sorted(rates[4:], reverse=True)
