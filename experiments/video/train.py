"""Moving digits: a GRU names digit, direction and speed, and predicts the next video frames.

The digits are real, 5,000 from MNIST; their motion over a torus is generated, and noise is added.
Training, validation and test videos share no digit. The baselines do without the GRU: convolutions
over time, the mean over the frames, which ignores their order, a network that sees only the last
frame, and cross-correlation, which estimates the motion and extrapolates it.

    python -m experiments.video                about 15 minutes of one core's processor time
    python -m experiments.video --quick        a smaller GRU alone: 2.3 minutes, 72.7 / 98.7 / 54.4
    python -m experiments.video --predict runs/video/example.npy
    python -m experiments.video --train clips                 your own, one folder for each class

Measured on 1,000 clips, one per test digit, three seeds, % correct for digit / direction / speed:
GRU 95.8 / 100.0 / 98.8; a CNN over time with as many parameters 38.1 / 100.0 / 99.9; mean over the
frames 89.5 / 22.5 / 34.2 and last frame 92.4 / 12.6 / 34.9, both with shorter training;
cross-correlation, which names no digit, – / 100.0 / 100.0. The GRU's predicted frames are blurred:
their PSNR, 20.4 dB for the next one and 19.0 for the fifth, is about that of the last noisy frame,
moved on (20.0); the mean of all frames seen, moved on, reaches 30.0.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.common import training
from experiments.common.confidence import (
    calibrate,
    describe_answer,
    fit_temperature,
    to_log_probs,
)
from experiments.common.onnx.files import export_model
from experiments.common.onnx.models import draw_examples, set_metadata
from experiments.common.outputs import reporting
from experiments.common.provenance import command_line
from experiments.common.rivals.settings import require_gru
from experiments.common.training import loop
from experiments.common.training.models import load_model, save_model
from experiments.video.data import (
    DIRECTIONS,
    NUM_CLASSES,
    SIDE,
    SPEEDS,
    Clips,
    draw_clips,
    read_frames,
    read_splits,
)
from experiments.video.model import IN_ORDER, VideoNetwork, init_network, predict_frames
from experiments.video.onnx_model import build_model
from experiments.video.own_training import predict_own, train_on_own
from experiments.video.plots import plot_frames
from experiments.video.report import Trained, run_network, write_report
from experiments.video.settings import Command, Settings
from experiments.vision.digits import CLASSES, Digits, Splits

COMMAND = "python -m experiments.video"
MODEL, EXAMPLE = "model.msgpack", "example.npy"
SEEN, NEXT = 10, 5  # frames that the networks see, and frames after them to predict
NOISE = 0.1  # standard deviation; ink is 1
NUM_VALIDATION = 200  # clips
MINUTES = {False: 15, True: 2}  # of the whole command, without and with --quick


def make_network(settings: Settings) -> VideoNetwork:
    """Builds the network. All its layers are in `experiments/video/model.py`."""
    return VideoNetwork(
        hidden_size=settings.hidden_size,
        features=settings.features,
        dropout=settings.dropout,
        reader=settings.reader,
        cell=settings.cell,
    )


def frame_error(
    network: VideoNetwork, params: Any, hs: Array, carry: Any, clips: Clips, count: int
) -> Array:
    """Computes the squared error per predicted frame, summed over its pixels: [].

    Each seen frame is predicted from those before it, and `count` more from predicted ones. `hs`
    [B, SEEN, H] are the outputs after the seen frames, and `carry` is the state after the last one.
    """
    seen = network.apply(params, hs[:, :-1], method="predict_frame")
    unseen = predict_frames(network, params, carry, count)
    predicted = jnp.concatenate([seen, unseen], 1)
    return ((predicted - clips.clean[:, 1 : SEEN + count]) ** 2).sum((-1, -2)).mean()


def video_training(
    settings: Settings, splits: Splits, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one network; the learning rate may be traced."""
    network = make_network(settings)
    images, labels = map(jnp.asarray, splits.train)
    validation = draw_evaluation_clips(splits.validation, NUM_VALIDATION, seed=1)

    def loss(params: Any, batch: Array, key: Array) -> Array:
        digit_key, clip_key, dropout_key = jax.random.split(key, 3)
        chosen = jax.random.randint(digit_key, batch.shape, 0, len(labels))
        clips = draw_clips(clip_key, images[chosen], labels[chosen], SEEN + NEXT, NOISE, True)
        seen = clips.frames[:, :SEEN].astype(jax.tree.leaves(params)[0].dtype)
        logits, hs, carry = network.apply(params, seen, True, rngs={"dropout": dropout_key})
        total = jnp.float32(0)
        for name, row in logits.items():
            truth = jax.nn.one_hot(clips.labels[name], NUM_CLASSES[name])[:, None]
            total += optax.softmax_cross_entropy(row, truth).mean()
        if settings.reader in IN_ORDER:
            total += settings.frame_weight * frame_error(
                network, params, hs, carry, clips, settings.imagined
            )
        return total

    def evaluate(params: Any) -> training.Metrics:
        seen = validation.frames[:, :SEEN]
        logits, hs, carry = training.map_batches(partial(network.apply, params), seen, 100)
        metrics = {
            f"validation_{name}": (logits[name][:, -1].argmax(-1) == labels).mean()
            for name, labels in validation.labels.items()
        }
        metrics["validation_mean"] = sum(metrics.values()) / len(NUM_CLASSES)
        if settings.reader in IN_ORDER:
            states = hs, carry
            metrics["validation_frame_error"] = frame_error(
                network, params, *states, validation, NEXT
            )
        return metrics

    return training.make_standard_training(
        settings,
        learning_rate,
        init_params=lambda key: init_network(network, key),
        loss=loss,
        evaluate=evaluate,
        score="validation_mean",
        examples=jnp.arange(settings.num_clips),  # placeholders: `loss` draws the clips
    )


def draw_evaluation_clips(digits: Digits, count: int, seed: int) -> Clips:
    """Draws clips of all digits in turn."""
    chosen = jnp.arange(count) % len(digits.labels)
    images, labels = (jnp.asarray(array)[chosen] for array in digits)
    return draw_clips(jax.random.key(seed), images, labels, SEEN + NEXT, NOISE)


def make_train(settings: Settings, splits: Splits) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics per epoch [E]."""
    return training.as_function(video_training, settings, splits)


def experiment(command: Command) -> None:
    """Trains the network of each reader, and compares them on the test digits."""
    minutes = MINUTES[command.quick] * command.seeds
    print(f"Training and testing: about {minutes} minutes on an idle CPU core.")
    splits = read_splits()
    networks: dict[str, list[Trained]] = {}
    for name, preset in command.trainings().items():
        for number in range(command.seeds):
            settings = replace(preset, seed=preset.seed + number)
            trained = train_network(settings, splits, training_folder(command.out, name, number))
            networks.setdefault(name, []).append(trained)
    clips = draw_evaluation_clips(splits.test, command.num_test, seed=2)
    write_report(networks, clips, SEEN, command.out)
    example = command.out / EXAMPLE
    with reporting(example):
        np.save(example, np.asarray(clips.frames[0, :SEEN]))
    line = command_line(COMMAND, "--predict", str(example))
    print(f"\nPlots and models are in {command.out}. Try: {line}")


def training_folder(out: Path, reader: str, number: int = 0) -> Path:
    """The folder of one of a reader's trainings, of which the first one answers."""
    return out / f"{reader}-{number}"


def train_network(settings: Settings, splits: Splits, folder: Path) -> Trained:
    """Trains a network, or loads a finished training, and saves the model in the folder."""
    plan = video_training(settings, splits, settings.learning_rate)
    record: dict[str, Any] = {"settings": asdict(settings)}
    state = loop.run(plan, jax.random.key(settings.seed), folder, record, folder.name)
    network = make_network(settings)
    # Without order not all labels can be known, so the best epoch is chance: use the last.
    params = state.best_params if network.reader in IN_ORDER else state.params
    if network.reader == "gru":
        record["temperatures"] = fit_temperatures(network, params, splits.validation)
    save_model(folder / MODEL, params, record, list(NUM_CLASSES))
    return Trained(network, params, folder)


def fit_temperatures(network: VideoNetwork, params: Any, digits: Digits) -> dict[str, float]:
    """The temperature of each answer, fitted to clips of the validation digits."""
    clips = draw_evaluation_clips(digits, NUM_VALIDATION, seed=1)
    probabilities, _ = run_network(network, params, clips.frames[:, :SEEN], NEXT)
    return {
        name: fit_temperature(to_log_probs(row), np.asarray(clips.labels[name]))
        for name, row in probabilities.items()
    }


def predict(out: Path, file: Path) -> str:
    """Classifies a file of frames with the saved GRU, and writes the frames it predicts next."""
    frames = read_frames(file)
    params, record, _ = load_model(training_folder(out, "gru") / MODEL, COMMAND)
    network = make_network(Settings(**record["settings"]))
    probabilities, predicted = run_network(network, params, frames[None], NEXT)
    classes = {"digit": range(CLASSES), "direction": list(DIRECTIONS), "speed": SPEEDS}
    calibrated = {
        name: calibrate(to_log_probs(row[0]), record["temperatures"][name])
        for name, row in probabilities.items()
    }
    lines = [f"{name}: {describe_answer(row, classes[name])}" for name, row in calibrated.items()]
    with reporting(out / "expected.npy"):
        np.save(out / "expected.npy", predicted[0])
    shown = np.concatenate([frames[-SEEN:], predicted[0]])
    plot_frames(out / "expected.png", [(", ".join(lines), {"": shown})])
    return "\n".join([*lines, f"next {NEXT} frames: {out / 'expected.npy'} and expected.png"])


def export(path: Path) -> None:
    """Writes the saved GRU with its three classifiers as an ONNX file."""
    params, record, _ = load_model(path, COMMAND)
    network, temperatures = make_network(Settings(**record["settings"])), record["temperatures"]
    require_gru(network.cell, "--export")

    @jax.jit
    def run(frames: Array) -> list[Array]:
        logits = network.apply(params, frames)[0]
        return [jax.nn.softmax(logits[name] / temperatures[name]) for name in NUM_CLASSES]

    examples = draw_examples({"frames": (2, SEEN, SIDE, SIDE)}, {"frames": (1, 3, SIDE, SIDE)})
    model = build_model(params, temperatures)
    set_metadata(model, direction=list(DIRECTIONS), speed=SPEEDS)
    export_model(path.with_suffix(".onnx"), model, run, examples)


def main(command: Command) -> None:
    """Runs the command."""
    if command.export is not None:
        return export(training_folder(command.out, "gru") / MODEL)
    if command.train is not None:
        return train_on_own(command)
    if command.predict is None:
        return experiment(command)
    if command.model is not None:
        return print(predict_own(command.model, command.predict))
    print(predict(command.out, command.predict))
