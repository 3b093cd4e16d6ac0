"""Three tasks that need a long memory, in one form: sequences in, answers at the last steps out.

adding   the adding problem, see `experiments.memory.adding`; length is T
copy     copy memory, see `experiments.memory.copy_memory`; length is the delay
pixels   classify a digit read pixel by pixel (Le et al. 2015, https://arxiv.org/abs/1504.00941);
         length is T, the number of pixels: 784, or 196 or 49 for smaller versions of the images
"""

from collections.abc import Callable
from math import isqrt, log
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from experiments.memory import adding, copy_memory
from experiments.vision import digits

TASKS = ("adding", "copy", "pixels")
NUM_SYMBOLS = 5  # to repeat in copy memory
NUM_HELD_OUT = 256

Batch = tuple[Array, Array]  # xs [T, B, I], targets [S, B]


class Task(NamedTuple):
    """A task at one length; the S answers are due at the last S steps."""

    draw: Callable[[Array, int], Batch]  # (key, B) -> a training batch
    held_out: Batch  # sequences to evaluate on
    loss: Callable[[Array, Array], Array]  # (outputs [S, B, O], targets [S, B]) -> [] mean
    num_outputs: int  # O
    guessing: float  # the loss of the best answer that ignores the input
    solved: float  # the share of that loss below which the task counts as solved


def make_task(name: str, length: int) -> Task:
    """Builds one of TASKS; "pixels" downloads the images if they are not cached yet."""
    key = jax.random.key(123)
    if name == "adding":

        def draw(key: Array, batch_size: int) -> Batch:
            xs, targets = adding.draw_batch(key, length, batch_size)
            return xs, targets[None]

        return Task(draw, draw(key, NUM_HELD_OUT), _squared_error, 1, 1 / 6, 6 * adding.SOLVED)
    if name == "copy":

        def draw(key: Array, batch_size: int) -> Batch:
            return copy_memory.draw_batch(key, length, NUM_SYMBOLS, batch_size)

        classes = copy_memory.ALPHABET
        return Task(draw, draw(key, NUM_HELD_OUT), _cross_entropy, classes, log(classes), 0.06)
    if name != "pixels":
        raise ValueError(f"`name` must be one of {TASKS}, got {name!r}.")
    train, test = digits.split_digits(digits.read_digits())
    pixels, labels = digits.as_pixels(train.images, isqrt(length)), jnp.asarray(train.labels)
    held_out = digits.as_pixels(test.images[:NUM_HELD_OUT], isqrt(length))

    def as_batch(pixels: Array, labels: Array) -> Batch:
        return pixels.T[..., None] / 255.0, labels[None]

    def draw(key: Array, batch_size: int) -> Batch:
        chosen = jax.random.randint(key, (batch_size,), 0, len(labels))
        return as_batch(jnp.asarray(pixels)[chosen], labels[chosen])

    return Task(
        draw,
        as_batch(jnp.asarray(held_out), jnp.asarray(test.labels[:NUM_HELD_OUT])),
        _cross_entropy,
        digits.CLASSES,
        log(digits.CLASSES),
        0.5,
    )


def num_steps(name: str, length: int) -> int:
    """T, the length of a task's sequences."""
    return copy_memory.num_steps(length, NUM_SYMBOLS) if name == "copy" else length


def _squared_error(outputs: Array, targets: Array) -> Array:
    return jnp.mean((outputs[..., 0] - targets) ** 2)


def _cross_entropy(outputs: Array, targets: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(outputs, targets).mean()
