"""The adding problem: its sequences, and a training that solves it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.memory import adding


@pytest.mark.parametrize("steps", [3, 7, 100])
def test_one_number_in_each_half_is_marked(steps):
    draw = jax.jit(adding.draw_batch, static_argnums=(1, 2))
    xs, targets = draw(jax.random.key(0), steps, 500)
    numbers, marks = np.moveaxis(np.asarray(xs), -1, 0)
    assert xs.shape == (steps, 500, 2)
    assert set(np.unique(marks)) == {0.0, 1.0}
    assert np.all(marks[: steps // 2].sum(0) == 1)
    assert np.all(marks[steps // 2 :].sum(0) == 1)
    assert np.all(marks.any(1))  # every step is marked somewhere
    np.testing.assert_allclose(targets, (numbers * marks).sum(0), rtol=1e-6)


def test_a_layer_that_computes_the_sum_solves_it():
    def sum_of_marked(params, xs):
        return jnp.prod(xs, -1).sum(0)[:, None] + params

    metrics = adding.train(
        jax.random.key(0),
        lambda key: jnp.zeros(1),
        sum_of_marked,
        hidden_size=1,
        learning_rate=0.05,
        steps=10,
        batch_size=16,
        updates=203,
    )
    assert metrics["solved"] == 1.0
    assert metrics["errors"].shape == (20,)
    assert metrics["errors"][0] > metrics["errors"][-1]
