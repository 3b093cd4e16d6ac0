"""Which exercise the arm does, felt by a watch: a bidirectional GRU on real wrist recordings.

140 recordings of ten subjects at 50 Hz, three accelerations and three angular velocities, seven
shoulder exercises. A window of two seconds is to be named, and a recording by all its windows
together. Each subject is tested by networks that have never seen one of theirs.

    python -m experiments.exercises            7 minutes of a busy core
    python -m experiments.exercises --quick
    python -m experiments.exercises --predict runs/exercises/example.csv
    python -m experiments.exercises --choose   compares the augmentations by inner folds

Measured over five folds of two subjects, % of windows / of recordings by vote / by the mean of the
log-probabilities: one network 90.0 / 93.8 / 94.5 (mean of three seeds), three averaged 90.5 / 95.0
/ 95.0; features + random forest 87.1 / 90.7 / 92.1. That is 3.3 points of the windows more, 95%
interval by subjects -1.8 to 8.3: seven of them gain and three lose, which may be chance.

The augmentation is one of four, chosen by inner folds: two neighbouring folds were left out, and
what was learned from the rest measured on one of them for the other. The last epoch counts.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import training
from experiments.common.command import run_command
from experiments.common.training import loop
from experiments.common.training.models import load_model, save_model
from experiments.exercises.augmentation import Augmentation, draw_windows
from experiments.exercises.classifier import ExerciseClassifier, log_probabilities
from experiments.exercises.report import write_report
from experiments.exercises.wrist_sensor import (
    CHANNELS,
    EXERCISES,
    Splits,
    cut_windows,
    leave_out,
    number_folds,
    read_recordings,
    read_signal,
    window_signals,
)

COMMAND = "python -m experiments.exercises"
MODEL, EXAMPLE = "model.msgpack", "example.csv"
WINDOW = 100  # samples, two seconds
CLASSES = len(EXERCISES)
NUM_FOLDS = 5  # of two subjects each
NUM_SEEN = 100  # windows
MINUTES = {False: 5, True: 2}  # of the whole command, without and with --quick


WEAK = Augmentation(angle=0.2, speed=0.2, gain=0.1, noise=0.05, mirrored=0.5)
STRONG = Augmentation(angle=0.35, speed=0.3, gain=0.15, noise=0.1, mirrored=0.5)
CANDIDATES = {
    "weak": WEAK,
    "weak, not mirrored": WEAK._replace(mirrored=0.0),
    "strong": STRONG,
    "stronger": Augmentation(angle=0.5, speed=0.3, gain=0.2, noise=0.2, mirrored=0.5),
}


@dataclass(frozen=True)
class Settings:
    """What determines the trained networks."""

    stride: int = 4  # samples that make one step
    hidden_size: int = 64  # of the GRU, in each direction
    num_layers: int = 1
    dropout: float = 0.4
    smoothing: float = 0.1  # of the labels
    augmentation: Augmentation = STRONG
    seeds: int = 3  # networks, trained side by side
    batch_size: int = 64
    updates: int = 64  # in an epoch
    epochs: int = 16
    learning_rate: float = 3e-3  # the peak, after one epoch of warm-up; then a cosine
    weight_decay: float = 0.05
    max_gradient_norm: float = 1.0


QUICK = Settings(seeds=1, epochs=6)


def make_classifier(settings: Settings) -> ExerciseClassifier:
    """One network of these settings."""
    s = settings
    return ExerciseClassifier(s.stride, s.hidden_size, s.num_layers, s.dropout)


def classifier_training(
    settings: Settings, splits: Splits, learning_rate: float | Array
) -> training.Training:
    """Builds the training of all networks side by side: those of one split after the other's."""
    model = make_classifier(settings)
    signals, lengths, labels, _ = map(jnp.asarray, splits.recordings)
    owners, starts = map(jnp.asarray, splits.windows)
    members, counts = (np.repeat(array, settings.seeds, 0) for array in splits[2:])
    # Every other subject is tested later: progress is shown on windows that are trained on.
    some = members[:, :: -(-members.shape[1] // NUM_SEEN)]
    seen = jnp.asarray(window_signals(*splits[:2], WINDOW)[some])
    seen_labels = labels[owners[some]]

    def init_params(key: Array) -> Any:
        keys = jax.random.split(key, len(members))
        return jax.vmap(lambda key: model.init(key, jnp.zeros((1, WINDOW, 6)), False))(keys)

    def network_loss(params: Any, members: Array, count: Array, batch: Array, key: Array) -> Array:
        which, draw, dropout = jax.random.split(key, 3)
        chosen = members[jax.random.randint(which, batch.shape, 0, count)]
        of = owners[chosen]
        places = signals[of], lengths[of], starts[chosen]
        windows = draw_windows(draw, *places, WINDOW, WINDOW // 2, settings.augmentation)
        windows = windows.astype(jax.tree.leaves(params)[0].dtype)
        logits = model.apply(params, windows, True, rngs={"dropout": dropout})
        targets = optax.smooth_labels(jax.nn.one_hot(labels[of], CLASSES), settings.smoothing)
        return optax.softmax_cross_entropy(logits, targets).mean()

    def loss(params: Any, batch: Array, key: Array) -> Array:
        keys = jax.random.split(key, len(members))
        losses = jax.vmap(network_loss, (0, 0, 0, None, 0))(params, members, counts, batch, keys)
        return losses.sum()  # so that each has its own gradient

    def evaluate(params: Any) -> training.Metrics:
        found = jax.vmap(lambda params, xs: model.apply(params, xs, False))(params, seen)
        return {"seen_accuracy": (found.argmax(-1) == seen_labels).mean()}

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
        examples=jnp.arange(settings.updates * settings.batch_size),  # drawn in `network_loss`
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        patience=settings.epochs,
    )


def make_train(settings: Settings, splits: Splits) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(classifier_training, settings, splits)


def train_networks(
    settings: Settings, splits: Splits, signals: np.ndarray, out: Path, label: str
) -> tuple[Any, np.ndarray]:
    """Trains. Returns: the parameters [networks, ...], and the log-probabilities of windows
    `signals` [N, T, 6] by the networks of each split, [S, seeds, N, 7]."""
    plan = classifier_training(settings, splits, settings.learning_rate)
    record = {"settings": asdict(settings)}
    params = loop.run(plan, jax.random.key(0), out, record, label).params
    found = log_probabilities(make_classifier(settings), params, jnp.asarray(signals))
    return params, np.asarray(found).reshape(-1, settings.seeds, *found.shape[1:])


def choose(settings: Settings, out: Path) -> None:
    """Compares the augmentations by inner folds, see the module's docstring."""
    recordings = read_recordings()
    folds = number_folds(recordings.subjects, NUM_FOLDS)
    windows = cut_windows(recordings.lengths, WINDOW, WINDOW)
    signals = window_signals(recordings, windows, WINDOW)
    truth, of_window = recordings.labels[windows.recordings], folds[windows.recordings]
    pairs = [(fold, (fold + 1) % NUM_FOLDS) for fold in range(NUM_FOLDS)]
    splits = leave_out(recordings, folds, pairs, WINDOW)
    for name, augmentation in CANDIDATES.items():
        tried = replace(settings, augmentation=augmentation, seeds=1)
        found = train_networks(tried, splits, signals, out / name, name)[1]
        right = found[:, 0].argmax(-1) == truth
        inner = [right[i, of_window == fold].mean() for i in range(NUM_FOLDS) for fold in pairs[i]]
        print(f"{name}: {np.mean(inner):.1%} of the windows")


def experiment(settings: Settings, out: Path) -> None:
    """Trains the networks of all folds, and compares them with forests."""
    recordings = read_recordings()
    folds = number_folds(recordings.subjects, NUM_FOLDS)
    windows = cut_windows(recordings.lengths, WINDOW, WINDOW)
    signals = window_signals(recordings, windows, WINDOW)
    splits = leave_out(recordings, folds, [[fold] for fold in range(NUM_FOLDS)], WINDOW)
    params, found = train_networks(settings, splits, signals, out / "networks", "all networks")
    save_model(out / MODEL, params, {"settings": asdict(settings)}, list(EXERCISES))
    unseen = found[folds[windows.recordings], :, np.arange(len(signals))]  # [M, seeds, 7]
    write_report(unseen.swapaxes(0, 1), recordings, folds, windows, out)
    example = recordings.signals[0, : recordings.lengths[0]]
    np.savetxt(
        out / EXAMPLE, example, fmt="%.5f", delimiter=",", header=",".join(CHANNELS), comments=""
    )
    print(f"\nPlots and models are in {out}. Try: {COMMAND} --predict {out / EXAMPLE}")


def predict(out: Path, file: Path) -> str:
    """What all saved networks together say of a recording, and of each of its windows."""
    signal = read_signal(file, least=WINDOW)
    params, record, _ = load_model(out / MODEL, COMMAND)
    augmentation = Augmentation(*record["settings"]["augmentation"])
    settings = Settings(**record["settings"] | {"augmentation": augmentation})
    starts = cut_windows(np.array([len(signal)]), WINDOW, WINDOW // 2).starts
    windows = signal[starts[:, None] + np.arange(WINDOW)]
    answers = log_probabilities(make_classifier(settings), params, windows)
    found = np.asarray(answers).mean(0)  # [N, 7]
    votes = np.bincount(found.argmax(1), minlength=CLASSES)
    named = ", ".join(f"{EXERCISES[i]} {votes[i]}" for i in np.argsort(-votes) if votes[i])
    return f"{EXERCISES[found.mean(0).argmax()]}\nwindows, one begins every second: {named}"


@dataclass(frozen=True)
class Command:
    """Trains the networks and compares them, or asks the trained ones."""

    quick: bool = False  # one network a fold, fewer epochs
    choose: bool = False  # compare augmentations by inner folds instead
    out: Path = Path("runs/exercises")  # where everything is written
    predict: Path | None = None  # a table with the columns ax ... wz, or a .npy [L, 6], at 50 Hz


def main(command: Command) -> None:
    """Runs the command."""
    out = command.out / "quick" if command.quick else command.out
    settings = QUICK if command.quick else Settings()
    if command.predict is not None:
        return print(predict(out, command.predict))
    print(f"Training, then the report: about {MINUTES[command.quick]} minutes of an idle CPU core.")
    if command.choose:
        return choose(settings, out / "choice")
    experiment(settings, out)


def cli() -> None:
    """Runs the command line."""
    run_command(main, Command, __doc__, trains=True)
