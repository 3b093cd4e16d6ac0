"""Trains the convolutions and the GRU on the user's clips, and uses them."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from sklearn.linear_model import LogisticRegression

from experiments.common import training
from experiments.common.confidence import calibrate, describe_answer, fit_temperature
from experiments.common.data.user_files import own_directory
from experiments.common.outputs import write_results
from experiments.common.provenance import command_line
from experiments.common.report.classes import report_classes
from experiments.common.report.plots import Curve, cell_title, plot_learning_curves
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.video.data import SIDE
from experiments.video.model import ClipClassifier
from experiments.video.own_clips import (
    LONGEST,
    Clips,
    OwnClips,
    Shape,
    read_class_folders,
    read_clip,
)
from experiments.video.settings import Command, Settings

COMMAND = "python -m experiments.video --train FOLDER"
MODEL = "model.msgpack"
SHIFT = 2  # pixels, the largest shift of a training clip
GAIN, NOISE = 0.1, 0.1  # the deviations of the logarithm of its contrast, and of its pixels
BATCH_SIZE = 50  # clips that are classified at once


def make_classifier(settings: Settings, num_classes: int) -> ClipClassifier:
    """Makes the network that the settings describe."""
    sizes = settings.hidden_size, settings.features
    return ClipClassifier(*sizes, settings.dropout, num_classes, settings.cell)


def change(key: Array, frames: Array) -> Array:
    """Clips [B, T, S, S], each shifted as a whole, with another contrast, and noise."""
    shift_key, gain_key, noise_key = jax.random.split(key, 3)
    shifts = jax.random.randint(shift_key, (len(frames), 2), -SHIFT, SHIFT + 1)
    shifted = jax.vmap(partial(jnp.roll, axis=(1, 2)))(frames, shifts)
    gains = jnp.exp(GAIN * jax.random.normal(gain_key, (len(frames), 1, 1, 1)))
    return shifted * gains + NOISE * jax.random.normal(noise_key, frames.shape)


def make_training(
    settings: Settings, own: OwnClips, learning_rate: float | Array
) -> training.Training:
    """Builds the training; the learning rate may be traced."""
    model = make_classifier(settings, len(own.names))
    train = Clips(*map(jnp.asarray, own.clips.select(own.split.train)))
    held_out = own.clips.select(own.split.validation)

    def loss(params: Any, batch: Array, key: Array) -> Array:
        choice_key, change_key, dropout_key = jax.random.split(key, 3)
        chosen = jax.random.randint(choice_key, batch.shape, 0, len(train.labels))
        frames, lengths, labels = train.select(chosen)
        frames = change(change_key, frames).astype(jax.tree.leaves(params)[0].dtype)
        logits = model.apply(params, frames, lengths, True, rngs={"dropout": dropout_key})
        targets = jnp.broadcast_to(labels[:, None], logits.shape[:2])
        errors = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        valid = jnp.arange(frames.shape[1]) < lengths[:, None]
        return (jnp.where(valid, errors, 0).sum(1) / lengths).mean()

    def evaluate(params: Any) -> training.Metrics:
        log_probs = log_probabilities(model, params, held_out)
        labels = jnp.asarray(held_out.labels)
        return {
            "validation_log_likelihood": log_probs[jnp.arange(len(labels)), labels].mean(),
            "validation_accuracy": (log_probs.argmax(-1) == labels).mean(),
        }

    shape = (1, 2, SIDE, SIDE)
    return training.make_standard_training(
        settings,
        learning_rate,
        init_params=lambda key: model.init(key, jnp.zeros(shape), jnp.array([2])),
        loss=loss,
        evaluate=evaluate,
        score="validation_log_likelihood",
        examples=jnp.arange(settings.num_clips),  # placeholders: `loss` draws the clips
    )


def log_probabilities(model: ClipClassifier, params: Any, clips: Clips) -> Array:
    """Log-probabilities [N, K] of clips, after their last frames."""

    def classify(batch: tuple[Array, Array]) -> Array:
        frames, lengths = batch
        logits = model.apply(params, frames, lengths)
        return jax.nn.log_softmax(logits[jnp.arange(len(lengths)), lengths - 1])

    batch = jnp.asarray(clips.frames), jnp.asarray(clips.lengths)
    return training.map_batches(classify, batch, min(BATCH_SIZE, len(clips.lengths)))


def train_on_own(command: Command) -> None:
    """Trains on the user's clips, tests on some of them, and saves the model."""
    assert command.train is not None
    own, settings = read_class_folders(command.train), command.settings
    print(describe_clips(own))
    out = own_directory(command.out, command.train)
    digest = hashlib.sha256(own.clips.frames.tobytes() + own.clips.labels.tobytes()).hexdigest()
    directory = out / digest[:16]
    plan = make_training(settings, own, settings.learning_rate)
    record: dict[str, Any] = {"settings": asdict(settings)}
    title = cell_title(settings.cell)
    state = loop.run(plan, jax.random.key(settings.seed), directory, record, title)
    classify = jax.jit(partial(log_probabilities, make_classifier(settings, len(own.names))))
    validation, test = (own.clips.select(part) for part in own.split[1:])
    evidence, tested = (np.asarray(classify(state.best_params, x)) for x in (validation, test))
    temperature = fit_temperature(evidence, validation.labels, prior=1)
    record |= {"temperature": temperature, "shape": list(own.shape)}
    save_model(out / MODEL, state.best_params, record, own.names)
    answers = {title: tested.argmax(-1), **predict_baselines(own)}
    write_results(
        out / "results.json", report_classes(test.labels, answers, own.names, "test clips", out)
    )
    records = {title: read_records(directory / loop.METRICS)}
    metric = Curve("validation_log_likelihood", "validation cross-entropy, nats", is_negated=True)
    plot_learning_curves(out / "learning_curves.png", records, "cross-entropy, nats", metric)
    words = ("--predict", str(own.example), "--model", str(out))
    line = command_line("python -m experiments.video", *words)
    print(f"\nresults.json, plots and the model are in {out}. Try: {line}")


def describe_clips(own: OwnClips) -> str:
    """What is in the parts, and what the network sees."""
    counts = "{} clips to train on, {} to validate, {} to test.".format(*map(len, own.split))
    frames = "Every frame" if own.shape.every == 1 else f"One frame in {own.shape.every}"
    read = f"{frames} is read, and at most {LONGEST} of a clip, in its middle."
    return "\n".join([*own.notes, f"{counts} The longest has {own.longest} frames.", read])


def predict_baselines(own: OwnClips) -> dict[str, np.ndarray]:
    """The answers for the test clips without a network: int [N] by name."""
    train, test = (own.clips.select(part) for part in (own.split.train, own.split.test))
    frequent = int(np.bincount(train.labels).argmax())

    def fit_linear(summarize: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        known, asked = (
            summarize(x.frames, x.lengths).reshape(len(x.labels), -1) for x in (train, test)
        )
        return LogisticRegression(C=0.03, max_iter=300).fit(known, train.labels).predict(asked)

    return {
        "linear model of the mean frame": fit_linear(
            lambda frames, lengths: frames.sum(1) / lengths[:, None, None]
        ),
        "linear model of the last frame": fit_linear(
            lambda frames, lengths: frames[np.arange(len(frames)), lengths - 1]
        ),
        f"always {own.names[frequent]}": np.full(len(test.labels), frequent),
    }


def predict_own(folder: Path, file: Path) -> str:
    """The class of a clip by the model in a folder."""
    clip = read_clip(file)
    params, record, names = load_model(folder / MODEL, COMMAND)
    model = make_classifier(Settings(**record["settings"]), len(names))
    shape = Shape(*record["shape"])
    frames = shape.standardize(shape.choose(clip))
    clips = Clips(frames[None], np.array([len(frames)], np.int32), np.zeros(1, np.int32))
    log_probs = np.asarray(log_probabilities(model, params, clips))[0]
    return describe_answer(calibrate(log_probs, record["temperature"]), names)
