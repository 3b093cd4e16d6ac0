"""The tasks: the loss of guessing, and the digits read by pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.training_difficulty import tasks


def test_guessing_is_the_loss_of_a_constant_answer(few_digits):
    for name, length in (("adding", 10), ("copy", 3), ("pixels", 784)):
        task = tasks.make_task(name, length)
        xs, targets = jax.jit(task.draw, static_argnums=1)(jax.random.key(0), 2000)
        outputs = jnp.zeros((*targets.shape, task.num_outputs)) + (name == "adding")
        np.testing.assert_allclose(task.loss(outputs, targets), task.guessing, rtol=0.1)
        assert xs.shape[1] == 2000
        assert task.held_out[0].shape[::2] == xs.shape[::2]
    with pytest.raises(ValueError, match="must be one of"):
        tasks.make_task("reading", 5)


def test_pixels_belong_to_their_labels(few_digits):
    xs, labels = tasks.make_task("pixels", 784).draw(jax.random.key(0), 20)
    pixels = np.rint(255 * np.asarray(xs[..., 0].T)).astype(int)
    everything = few_digits.images.reshape(100, 784)
    for row, label in zip(pixels, labels[0], strict=True):
        assert few_digits.labels[np.flatnonzero((everything == row).all(1))].tolist() == [label]
