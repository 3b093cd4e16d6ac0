"""Exercise recognition from a wrist sensor: a bidirectional GRU on 140 real recordings.

Ten subjects did seven shoulder exercises with a watch that records three accelerations and three
angular velocities at 50 Hz. The network classifies windows of two seconds; a recording is
classified by all of its windows. Each subject is tested by networks that never saw that subject.

    python -m experiments.exercises            7 minutes of a busy core
    python -m experiments.exercises --quick
    python -m experiments.exercises --predict runs/exercises/example.csv
    python -m experiments.exercises --choose   compares the augmentations by inner folds
    python -m experiments.exercises --train phone.csv   your own recordings

Results over five folds of two subjects, % right of windows / of recordings by vote / of recordings
by mean log-probability: one network 90.0 / 94.0 / 94.8 (mean of three seeds), the average of three
networks 90.2 / 94.3 / 95.0, features + random forest 87.1 / 90.7 / 92.1. The difference on windows
is 3.1 points (95% interval by subjects -2.0 to 8.2): seven subjects gain and three lose, which may
be chance.

The augmentation is one of four, chosen by inner folds: with two neighboring folds left out of the
training, the accuracy on one of them chose the augmentation for the other. The parameters of the
last epoch are used.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import training
from experiments.common.confidence import fit_temperature
from experiments.common.onnx.files import export_model
from experiments.common.onnx.models import draw_examples, set_metadata
from experiments.common.outputs import reporting
from experiments.common.provenance import command_line
from experiments.common.report.plots import cell_title
from experiments.common.rivals.settings import require_gru
from experiments.common.training import loop
from experiments.common.training.models import load_model, save_model
from experiments.exercises.augmentation import draw_windows
from experiments.exercises.doubts import (
    check_units,
    fit_known_movements,
    is_moving,
    knows_movement,
)
from experiments.exercises.model import ExerciseClassifier, log_probabilities
from experiments.exercises.onnx_model import build_ensemble
from experiments.exercises.own_training import predict_own, train_on_own
from experiments.exercises.report import (
    describe_recording,
    mean_by_recording,
    write_report,
)
from experiments.exercises.settings import CANDIDATES, Augmentation, Command, Settings
from experiments.exercises.wrist_sensor import (
    CHANNELS,
    EXERCISES,
    Splits,
    assign_folds,
    cut_windows,
    leave_out_folds,
    read_recordings,
    read_signal,
    window_signals,
)

COMMAND = "python -m experiments.exercises"
MODEL, EXAMPLE = "model.msgpack", "example.csv"
WINDOW = 100  # samples, two seconds
CLASSES = len(EXERCISES)
NUM_FOLDS = 5  # of two subjects each
NUM_SEEN = 100  # training windows that show the progress
MINUTES = {False: 5, True: 2}  # for the whole command, without and with --quick


def make_classifier(settings: Settings) -> ExerciseClassifier:
    """Builds one network."""
    return ExerciseClassifier(
        settings.stride,
        settings.hidden_size,
        settings.num_layers,
        settings.dropout,
        cell=settings.cell,
    )


def make_network_loss(settings: Settings, splits: Splits) -> Callable[..., Array]:
    """Builds the loss [] of one network: (params, members [M], count [], batch [B], key)."""
    model = make_classifier(settings)
    signals, lengths, labels, _ = map(jnp.asarray, splits.recordings)
    recordings, starts = map(jnp.asarray, splits.windows)

    def loss(params: Any, members: Array, count: Array, batch: Array, key: Array) -> Array:
        choice_key, draw_key, dropout_key = jax.random.split(key, 3)
        chosen = members[jax.random.randint(choice_key, batch.shape, 0, count)]
        indices = recordings[chosen]
        windows = draw_windows(
            draw_key,
            signals[indices],
            lengths[indices],
            starts[chosen],
            WINDOW,
            WINDOW // 2,
            settings.augmentation,
        )
        windows = windows.astype(jax.tree.leaves(params)[0].dtype)
        logits = model.apply(params, windows, True, rngs={"dropout": dropout_key})
        targets = jax.nn.one_hot(labels[indices], CLASSES)
        targets = optax.smooth_labels(targets, settings.smoothing)
        return optax.softmax_cross_entropy(logits, targets).mean()

    return loss


def make_training(
    settings: Settings, splits: Splits, learning_rate: float | Array
) -> training.Training:
    """Builds the training of all networks side by side, split by split."""
    model = make_classifier(settings)
    network_loss = make_network_loss(settings, splits)
    members, counts = (np.repeat(array, settings.seeds, 0) for array in splits[2:])
    # All other subjects are for the test, so the progress is measured on training windows.
    shown = members[:, :: -(-members.shape[1] // NUM_SEEN)]
    seen = jnp.asarray(window_signals(*splits[:2], WINDOW)[shown])
    seen_labels = jnp.asarray(splits.recordings.labels[splits.windows.recordings[shown]])

    def init_params(key: Array) -> Any:
        keys = jax.random.split(key, len(members))
        return jax.vmap(lambda key: model.init(key, jnp.zeros((1, WINDOW, 6)), False))(keys)

    def loss(params: Any, batch: Array, key: Array) -> Array:
        keys = jax.random.split(key, len(members))
        losses = jax.vmap(network_loss, (0, 0, 0, None, 0))(params, members, counts, batch, keys)
        return losses.sum()  # each network has its own gradient

    def evaluate(params: Any) -> training.Metrics:
        logits = jax.vmap(lambda params, xs: model.apply(params, xs, False))(params, seen)
        return {"seen_accuracy": (logits.argmax(-1) == seen_labels).mean()}

    optimizer = training.adamw_warmup_cosine(
        learning_rate,
        settings.weight_decay,
        settings.max_gradient_norm,
        settings.updates,
        settings.epochs,
    )
    return training.make_training(
        init_params=init_params,
        loss=loss,
        evaluate=evaluate,
        score="seen_accuracy",
        optimizer=optax.GradientTransformation(
            jax.vmap(optimizer.init), jax.vmap(optimizer.update)
        ),
        # Only the number of examples matters: `network_loss` draws the windows.
        examples=jnp.arange(settings.updates * settings.batch_size),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        patience=settings.epochs,
    )


def make_train(settings: Settings, splits: Splits) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(make_training, settings, splits)


def train_networks(
    settings: Settings, splits: Splits, signals: np.ndarray, out: Path, label: str
) -> tuple[Any, np.ndarray]:
    """Trains all networks, and classifies windows `signals` [N, T, 6].

    Returns: the parameters [networks, ...], and log-probabilities [S, seeds, N, 7].
    """
    plan = make_training(settings, splits, settings.learning_rate)
    record = {"settings": asdict(settings)}
    params = loop.run(plan, jax.random.key(settings.seed), out, record, label).params
    log_probs = log_probabilities(make_classifier(settings), params, jnp.asarray(signals))
    return params, np.asarray(log_probs).reshape(-1, settings.seeds, *log_probs.shape[1:])


def compare_augmentations(settings: Settings, out: Path) -> None:
    """Compares the augmentations by inner folds, see the module's docstring."""
    recordings = read_recordings()
    folds = assign_folds(recordings.subjects, NUM_FOLDS)
    windows = cut_windows(recordings.lengths, WINDOW, WINDOW)
    signals = window_signals(recordings, windows, WINDOW)
    truth, window_folds = recordings.labels[windows.recordings], folds[windows.recordings]
    pairs = [(fold, (fold + 1) % NUM_FOLDS) for fold in range(NUM_FOLDS)]
    splits = leave_out_folds(recordings, folds, pairs, WINDOW)
    for name, augmentation in CANDIDATES.items():
        candidate = replace(settings, augmentation=augmentation, seeds=1)
        _, log_probs = train_networks(candidate, splits, signals, out / name, name)
        right = log_probs[:, 0].argmax(-1) == truth
        accuracies = [
            right[i, window_folds == fold].mean() for i in range(NUM_FOLDS) for fold in pairs[i]
        ]
        print(f"{name}: {np.mean(accuracies):.1%} of the windows")


def experiment(settings: Settings, out: Path) -> None:
    """Trains the networks of all folds, and compares them with forests."""
    recordings = read_recordings()
    folds = assign_folds(recordings.subjects, NUM_FOLDS)
    windows = cut_windows(recordings.lengths, WINDOW, WINDOW)
    signals = window_signals(recordings, windows, WINDOW)
    splits = leave_out_folds(recordings, folds, [[fold] for fold in range(NUM_FOLDS)], WINDOW)
    params, log_probs = train_networks(settings, splits, signals, out / "networks", "all networks")
    # For each window, the networks whose split left out its fold.
    unseen = log_probs[folds[windows.recordings], :, np.arange(len(signals))]  # [M, seeds, 7]
    evidence = mean_by_recording(unseen.mean(1), windows.recordings)
    record = {
        "settings": asdict(settings),
        "temperature": fit_temperature(evidence, recordings.labels),
        "known": fit_known_movements(signals, folds[windows.recordings]),
    }
    save_model(out / MODEL, params, record, list(EXERCISES))
    title = cell_title(settings.cell)
    write_report(title, unseen.swapaxes(0, 1), recordings, folds, windows, out)
    example = recordings.signals[0, : recordings.lengths[0]]
    form = {"fmt": "%.5f", "delimiter": ",", "header": ",".join(CHANNELS), "comments": ""}
    with reporting(out / EXAMPLE):
        np.savetxt(out / EXAMPLE, example, **form)
    line = command_line(COMMAND, "--predict", str(out / EXAMPLE))
    print(f"\nPlots and models are in {out}. Try: {line}")


def read_settings(record: dict[str, Any]) -> Settings:
    """The settings in the record of the saved networks."""
    augmentation = Augmentation(*record["settings"]["augmentation"])
    return Settings(**record["settings"] | {"augmentation": augmentation})


def predict(out: Path, file: Path) -> str:
    """The exercise in a recording by all saved networks together, and in each window."""
    signal = read_signal(file, least=WINDOW)
    check_units(file, signal)
    params, record, _ = load_model(out / MODEL, COMMAND)
    settings = read_settings(record)
    starts = cut_windows(np.array([len(signal)]), WINDOW, WINDOW // 2).starts
    windows = signal[starts[:, None] + np.arange(WINDOW)]
    moving = is_moving(windows)
    if not moving.any():
        return "no exercise: the sensor does not move"
    windows = windows[moving]
    known = knows_movement(record["known"], windows).mean()
    if known < 0.5:
        return (
            "no exercise that the networks know: the movement is unlike their recordings in "
            f"{1 - known:.0%} of the windows"
        )
    networks = log_probabilities(make_classifier(settings), params, windows)
    log_probs = np.asarray(networks).mean(0)  # [N, 7]
    return describe_recording(log_probs, EXERCISES, record["temperature"], (~moving).sum())


def export(out: Path) -> None:
    """Writes all saved networks together as an ONNX file."""
    params, record, names = load_model(out / MODEL, COMMAND)
    settings = read_settings(record)
    require_gru(settings.cell, "--export")
    network = make_classifier(settings)

    def run(signals: np.ndarray) -> list[Array]:
        return [log_probabilities(network, params, jnp.asarray(signals)).mean(0)]

    model = build_ensemble(params, settings.stride)
    set_metadata(model, classes=names, temperature=record["temperature"])
    examples = draw_examples({"signals": (3, WINDOW, 6)}, {"signals": (1, WINDOW // 2 + 1, 6)})
    export_model(out / "model.onnx", model, run, examples)


def main(command: Command) -> None:
    """Trains, compares augmentations, predicts, or exports, as the command says."""
    if command.export is not None:
        return export(command.out)
    if command.predict is not None:
        if command.model is not None:
            return print(predict_own(command.model, command.predict))
        return print(predict(command.out, command.predict))
    if command.train is not None:
        return train_on_own(command)
    print(f"Training, then the report: about {MINUTES[command.quick]} minutes of an idle CPU core.")
    if command.choose:
        return compare_augmentations(command.settings, command.out / "choice")
    experiment(command.settings, command.out)
