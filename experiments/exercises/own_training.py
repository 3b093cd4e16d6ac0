"""Trains the network on the user's recordings, compares it with baselines, and uses it."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import training
from experiments.common.command import InputError
from experiments.common.confidence import fit_temperature
from experiments.common.data.user_files import own_directory, quote
from experiments.common.provenance import command_line
from experiments.common.report.plots import Curve, cell_title, plot_learning_curves
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.exercises.augmentation import draw_windows_of_any
from experiments.exercises.baselines import random_forest
from experiments.exercises.doubts import fit_known_signals, knows_movement
from experiments.exercises.model import ExerciseClassifier, log_probabilities
from experiments.exercises.own_report import by_recording, describe_split, report_own, write_example
from experiments.exercises.own_signals import OwnData, Scale, prepare, resample
from experiments.exercises.own_tables import (
    Stretch,
    bare_name,
    parse_roles,
    read_labeled,
    read_unlabeled,
)
from experiments.exercises.report import describe_recording
from experiments.exercises.settings import Augmentation, Command, Settings
from experiments.exercises.wrist_sensor import cut_windows, read_array, window_signals

COMMAND = "python -m experiments.exercises --train FILE"
MODEL, EXAMPLE = "model.msgpack", "example.csv"
FOREST = "features + random forest"
QUIET = 0.3  # of the least movement of a training window; below it, a window shows none
FAR = 0.1  # the share of numbers far outside the range of training that is tolerated


def make_classifier(settings: Settings, num_classes: int) -> ExerciseClassifier:
    """Builds the network for any channels."""
    size = settings.hidden_size, settings.num_layers
    kind = False, num_classes, settings.cell
    return ExerciseClassifier(settings.stride, *size, settings.dropout, *kind)


def make_training(
    settings: Settings, data: OwnData, learning_rate: float | Array
) -> training.Training:
    """Builds the training; the learning rate may be traced."""
    model = make_classifier(settings, len(data.names))
    signals, lengths, labels, _ = map(jnp.asarray, data.pieces)
    members, starts = map(jnp.asarray, data.windows(data.split.train, data.size // 2))
    held_out = data.windows(data.split.validation, data.size // 2)
    seen = jnp.asarray(window_signals(data.pieces, held_out, data.size))
    seen_labels = jnp.asarray(data.pieces.labels[held_out.recordings])

    def loss(params: Any, batch: Array, key: Array) -> Array:
        choice_key, draw_key, dropout_key = jax.random.split(key, 3)
        chosen = jax.random.randint(choice_key, batch.shape, 0, len(members))
        pieces = members[chosen]
        cut = (signals[pieces], lengths[pieces], starts[chosen], data.size, data.size // 2)
        windows = draw_windows_of_any(draw_key, *cut, settings.augmentation)
        windows = windows.astype(jax.tree.leaves(params)[0].dtype)
        logits = model.apply(params, windows, True, rngs={"dropout": dropout_key})
        targets = jax.nn.one_hot(labels[pieces], len(data.names))
        targets = optax.smooth_labels(targets, settings.smoothing)
        return optax.softmax_cross_entropy(logits, targets).mean()

    def evaluate(params: Any) -> training.Metrics:
        log_probs = log_probabilities(model, jax.tree.map(lambda x: x[None], params), seen)[0]
        return {
            "validation_log_likelihood": log_probs[jnp.arange(len(seen)), seen_labels].mean(),
            "validation_accuracy": (log_probs.argmax(-1) == seen_labels).mean(),
        }

    shape = (1, data.size, data.pieces.signals.shape[-1])
    return training.make_standard_training(
        settings,
        learning_rate,
        init_params=lambda key: model.init(key, jnp.zeros(shape), False),
        loss=loss,
        evaluate=evaluate,
        score="validation_log_likelihood",
        # Only the number of examples matters: `loss` draws the windows.
        examples=jnp.arange(settings.updates * settings.batch_size),
    )


def train_on_own(command: Command) -> None:
    """Trains on the user's recordings, tests on some of them, and saves the model."""
    assert command.train is not None
    settings, roles = command.settings, parse_roles(command.columns)
    tables = read_labeled(command.train, roles, command.rate)
    data = prepare(tables, command.window)
    if settings.stride > data.size:
        raise InputError(
            f"--stride is {settings.stride}, but a window has {data.size} samples: lower it."
        )
    print("\n".join(data.notes))
    print(describe_split(data, tables.has_persons))
    out = own_directory(command.out, command.train)
    digest = hashlib.sha256(data.pieces.signals.tobytes() + data.pieces.labels.tobytes())
    directory = out / digest.hexdigest()[:16]
    plan = make_training(settings, data, settings.learning_rate)
    record: dict[str, Any] = {"settings": asdict(settings)}
    title = cell_title(settings.cell)
    state = loop.run(plan, jax.random.key(settings.seed), directory, record, title)
    train, validation, test = (_window_part(data, part) for part in data.split)
    model = make_classifier(settings, len(data.names))
    params = jax.tree.map(lambda x: x[None], state.best_params)
    held_out = np.asarray(log_probabilities(model, params, validation[0]))[0]
    evidence, labels = by_recording(held_out, *validation[1:])
    record |= {
        "channels": tables.channels,
        "roles": roles,
        "rate": data.rate,
        "size": data.size,
        "scale": [column.tolist() for column in data.scale],
        "temperature": fit_temperature(evidence, labels, prior=1),
        "known": fit_known_signals(train[0], validation[0]),
        "quiet": QUIET * float(np.quantile(movement(train[0]), 0.01)),
    }
    save_model(out / MODEL, state.best_params, record, data.names)
    tested = np.asarray(log_probabilities(model, params, test[0]))[0]
    rival = random_forest(*train[:2], test[0], settings.seed, of_watch=False)
    independent = len(np.unique(data.groups[data.split.test]))
    report_own({title: tested, FOREST: rival}, train[1], test[1:], data.names, independent, out)
    records = {title: read_records(directory / loop.METRICS)}
    metric = Curve("validation_log_likelihood", "validation cross-entropy, nats", is_negated=True)
    plot_learning_curves(out / "learning_curves.png", records, "cross-entropy, nats", metric)
    write_example(out / EXAMPLE, data, tables.channels)
    words = ("--predict", str(out / EXAMPLE), "--model", str(out))
    line = command_line("python -m experiments.exercises", *words)
    print(f"\nresults.json, plots and the model are in {out}. Try: {line}")


def _window_part(data: OwnData, part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The windows [M, T, C] of a part side by side, their labels and their recordings."""
    windows = data.windows(part, data.size)
    signals = window_signals(data.pieces, windows, data.size)
    pieces = windows.recordings
    return signals, data.pieces.labels[pieces], data.pieces.subjects[pieces]


def movement(windows: np.ndarray) -> np.ndarray:
    """How much windows [M, T, C] move: the largest deviation of a channel, [M]."""
    return windows.std(1).max(-1)


def predict_own(folder: Path, file: Path) -> str:
    """The label of a recording by the model in a folder, and that of each window."""
    params, record, names = load_model(folder / MODEL, COMMAND)
    augmentation = Augmentation(*record["settings"]["augmentation"])
    settings = Settings(**record["settings"] | {"augmentation": augmentation})
    scale, size = Scale(*map(np.array, record["scale"])), record["size"]
    signals = _read_signals(file, record)
    long = [signal for signal in signals if len(signal) >= size]
    if not long:
        raise InputError(
            f"{file} has no {size / record['rate']:.3g} seconds without a gap, the length of a "
            "window."
        )
    check_range(file, np.concatenate(long), record["channels"], scale)
    parts = []
    for signal in long:
        starts = cut_windows(np.array([len(signal)]), size, size // 2).starts
        parts.append(scale.standardize(signal)[starts[:, None] + np.arange(size)])
    windows = np.concatenate(parts)
    moving = movement(windows) > max(record["quiet"], 1e-6)
    if not moving.any():
        return "no answer: nothing moves in the recording"
    known = knows_movement(record["known"], windows[moving], of_watch=False).mean()
    if known < 0.5:
        return (
            "no answer: the recording is unlike those that the model was trained on in "
            f"{1 - known:.0%} of its windows; other units, another place of the sensor or another "
            "movement may be the reason"
        )
    model = make_classifier(settings, len(names))
    networks = log_probabilities(model, jax.tree.map(lambda x: x[None], params), windows[moving])
    log_probs = np.asarray(networks)[0]
    return describe_recording(log_probs, names, record["temperature"], int((~moving).sum()))


def _read_signals(file: Path, record: Mapping[str, Any]) -> list[np.ndarray]:
    """A recording without gaps at the model's rate: pieces [L, C]."""
    if file.suffix == ".npy":
        return [read_array(file, record["channels"])]
    roles = {role: names for role, names in record["roles"].items() if role == "time"}
    tables = read_unlabeled(file, record["channels"], roles, record["rate"])
    stretches: list[Stretch] = tables.stretches
    return [signal for stretch in stretches for signal in resample(stretch, record["rate"])]


def check_range(path: Path, signal: np.ndarray, channels: list[str], scale: Scale) -> None:
    """Refuses a recording [L, C] in other units than those of the training.

    Raises:
      InputError: many numbers of a channel are farther from its range in training than its width.
    """
    width = scale.high - scale.low
    far = (signal < scale.low - width) | (signal > scale.high + width)
    for name, column, share, low, high in zip(
        channels, signal.T, far.mean(0), scale.low, scale.high, strict=True
    ):
        if share > FAR:
            raise InputError(
                f"{path} has {quote(bare_name(name))} from {column.min():.3g} to "
                f"{column.max():.3g}; the model was trained on {low:.3g} to {high:.3g}: the unit "
                "or the sensor is another."
            )
