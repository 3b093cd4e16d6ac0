"""Labeled recordings: their distortion, and a recognizer's scores and temperature on them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from experiments.common import training
from experiments.common.confidence import find_temperature
from experiments.speech import ctc
from experiments.speech.distortion import Distortion
from experiments.speech.recognizer import Recognizer, label_log_probs
from experiments.speech.scores import edit_distances


class Examples(NamedTuple):
    """N recordings and their labels."""

    frames: Array  # [N, T, 13], standardized, zero past the end
    lengths: Array  # int [N], in frames
    labels: Array  # int [N, D], -1 past the last

    def select(self, rows: Any) -> "Examples":
        """The examples at these indices."""
        return Examples(*(field[rows] for field in self))


def validation_metrics(model: Recognizer, params: Any, examples: Examples) -> training.Metrics:
    """Scores of the best path; `validation_log_likelihood` is that of all paths."""

    def measure(batch: Examples) -> tuple[Array, Array]:
        _, log_probs = model.apply(params, batch.frames, batch.lengths)
        steps = batch.lengths // model.stride
        labels = ctc.decode_greedy(log_probs, steps).labels
        errors = edit_distances(batch.labels + 1, labels, ctc.BLANK)
        return errors, ctc.ctc_loss(log_probs, steps, batch.labels)

    errors, losses = training.map_batches(measure, examples, batch_size=100)
    return {
        "validation_log_likelihood": -losses.mean(),
        "validation_digits_right": 1 - errors.sum() / (examples.labels >= 0).sum(),
        "validation_strings_right": (errors == 0).mean(),
    }


def measure_errors(model: Recognizer, params: Any, examples: Examples) -> dict[str, Array]:
    """The share of digits that the best path gets wrong, and of strings that it gets right."""
    metrics = validation_metrics(model, params, examples)
    return {
        "digit errors": 1 - metrics["validation_digits_right"],
        "strings right": metrics["validation_strings_right"],
    }


def fit_ctc_temperature(model: Recognizer, params: Any, examples: Examples) -> float:
    """The temperature of the frames' probabilities at which held-out labels are most likely."""
    log_probs = label_log_probs(model, params, examples.frames, examples.lengths)
    steps = examples.lengths // model.stride

    @jax.jit
    def loss(temperature: float) -> Array:
        scaled = jax.nn.log_softmax(log_probs / temperature)
        return ctc.ctc_loss(scaled, steps, examples.labels).mean()

    return find_temperature(lambda temperature: float(loss(temperature)))


def distort(key: Array, examples: Examples, distortion: Distortion) -> Examples:
    """Recordings that are louder or softer, of another color, noisy, and masked; see `Distortion`.

    Their speed is unchanged.
    """
    count, width, size = examples.frames.shape
    keys = jax.random.split(key, 5)
    scales = jnp.array([distortion.loudness] + [distortion.color] * (size - 1))
    offsets = scales * jax.random.normal(keys[0], (count, 1, size))
    amount = distortion.noise * jax.random.uniform(keys[1], (count, 1, 1))
    frames = examples.frames + offsets + amount * jax.random.normal(keys[2], examples.frames.shape)
    times = jnp.arange(width)
    starts = jax.random.uniform(keys[3], (count, 2, 1)) * examples.lengths[:, None, None]
    widths = jax.random.uniform(keys[4], (count, 2, 1)) * distortion.masked
    masked = jnp.any((times >= starts) & (times < starts + widths), 1)
    audible = (times < examples.lengths[:, None]) & ~masked
    return examples._replace(frames=jnp.where(audible[..., None], frames, 0))
