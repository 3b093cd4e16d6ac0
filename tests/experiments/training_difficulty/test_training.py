"""One training: when it ends, what it measures, and what it shares with others of its seed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.memory.tricks import Trick
from experiments.training_difficulty import tasks, training

CAP, EVERY = 400, 20


def easy_task(solved: float) -> tasks.Task:
    """The task of repeating the last input."""

    def draw(key, batch_size):
        xs = jax.random.uniform(key, (3, batch_size, 1))
        return xs, xs[-1:, :, 0]

    held_out = draw(jax.random.key(9), 64)
    return tasks.make_task("adding", 4)._replace(
        draw=draw, held_out=held_out, guessing=1 / 12, solved=solved
    )


@jax.jit
def train_jitted(seed, solved, max_gradient_norm, learning_rate):
    return training.train(
        jax.random.key(seed),
        easy_task(solved),
        "gru",
        Trick(max_gradient_norm=max_gradient_norm),
        parameters=40,
        learning_rate=learning_rate,
        batch_size=4,
        cap=CAP,
        every=EVERY,
    )


def train(solved=0.0, max_gradient_norm=np.inf, learning_rate=1e-2, seed=0):
    return train_jitted(seed, solved, max_gradient_norm, learning_rate)


def test_training_ends_when_its_task_is_solved():
    metrics = train(solved=0.5)
    errors, index = np.asarray(metrics["errors"]), int(metrics["updates"]) // EVERY
    assert 0 < index < CAP // EVERY
    assert metrics["solved"] == 1
    assert np.all(errors[: index - 1] >= 0.5)
    assert np.all(errors[index - 1 :] == metrics["error"])
    assert metrics["error"] < 0.5
    np.testing.assert_allclose(metrics["learned"], 1 - errors.clip(max=1).mean(), rtol=1e-5)
    never = train(solved=0.0)
    assert (never["solved"], never["updates"]) == (0, CAP)
    assert len(np.unique(never["errors"])) == CAP // EVERY


def test_equal_seeds_start_alike_and_a_loose_clip_changes_nothing():
    plain = train()
    assert np.array_equal(plain["errors"], train(max_gradient_norm=1e6)["errors"])
    clipped = train(max_gradient_norm=1e-3)
    assert np.any(clipped["errors"] != plain["errors"])
    np.testing.assert_array_equal(clipped["flow_before"], plain["flow_before"])
    assert plain["flow_before"].shape == (3,)
    assert plain["flow_before"][0] == plain["flow_after"][0] == 1
    assert np.any(plain["flow_before"] != plain["flow_after"])
    assert np.any(train(seed=1)["errors"] != plain["errors"])


def test_a_diverged_training_ends_and_has_learned_nothing():
    metrics = train(learning_rate=jnp.inf)
    assert np.isnan(metrics["error"])
    assert metrics["updates"] == EVERY
    assert metrics["solved"] == 0
    assert metrics["learned"] == pytest.approx(0, abs=1e-6)  # a mean of ones is rounded
