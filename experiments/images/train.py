"""Images as sequences: digits classified by rows, by pixels, and by sweeps in four directions.

Of 5,000 digits of MNIST 3,600 are for training, 400 for choosing settings and epochs, 1,000 for
testing. A GRU, an LSTM, a three-layer minimal GRU and a plain RNN of the same size read them by
rows, as 14 x 14 pixels, as the same in random order, and as 784 single pixels; only the learning
rate differs. A bidirectional GRU, ReNet and a CNN see more at once. All train on distorted digits.

    python -m experiments.images                         about 7 minutes of one core's time
    python -m experiments.images --cell-seeds 3          12 minutes: three seeds of each cell, too
    python -m experiments.images --quick                 2 minutes: two cells, two readings
    python -m experiments.images --predict digit.png     classifies your own image or .npy file
    python -m experiments.images --train pictures        your own images, one folder for each class

Test accuracy in %, mean ± sd of three seeds: bidirectional GRU by rows 98.3 ±0.3, ReNet 98.1 ±0.5,
CNN 98.0 ±0.3, SVM 96.9. Cells (GRU / LSTM / minGRU / RNN): rows 97.2 / 97.3 / 96.3 / 91.4,
"14x14" 93.6 / 91.1 / 88.9 / 76.5; in the few epochs that time allowed, permuted 44 / 43 / 35 / 63,
and pixels 81 / 58 / 73 / 27. Over 784 steps, 1e-23 of an untrained RNN's gradient is left: a step
multiplies it by 1 − h², which is below 1 after the first ink. Gated cells keep a tenth or more.
"""

import hashlib
from collections.abc import Callable, Sequence
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
    calibration_error,
    describe_answer,
    fit_temperature,
    to_log_probs,
)
from experiments.common.data.user_files import own_directory
from experiments.common.onnx.files import export_model
from experiments.common.onnx.models import draw_examples, set_metadata
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.images.baselines import logistic_regression, support_vector_machine
from experiments.images.distortions import distort
from experiments.images.networks import ConvNet, ReNet, RowReader, from_module
from experiments.images.onnx_model import build_model
from experiments.images.own_images import read_class_folders, read_own_image, report_own
from experiments.images.report import CellResult, accuracy, draw_learning_curves, write_report
from experiments.images.sequences import Network, cell_network, gradient_flow
from experiments.images.settings import LARGER, Command, Distortion, Settings
from experiments.images.strokes import find_doubt, fit_ranges
from experiments.images.user_image import read_image, to_mnist, to_text
from experiments.memory.gradient_flow import geometric_mean
from experiments.vision.digits import CLASSES, SIDE, Digits, Splits, read_digits, split_three_ways

COMMAND = "python -m experiments.images"
MODEL = "model.msgpack"
MINUTES = {False: 7, True: 2}  # of the whole command on an idle core, without and with --quick
DIGITS = [str(digit) for digit in range(CLASSES)]
PARAMETERS = 8000  # approximate size of a cell's layers


def make_network(settings: Settings, classes: int = CLASSES) -> Network:
    """Makes the network that the settings describe; "bidirectional" for any number of classes."""
    size, dropout = settings.hidden_size, settings.dropout
    if settings.network == "bidirectional":
        return from_module(RowReader(size, settings.num_layers, dropout, classes))
    if settings.network == "ReNet":
        return from_module(ReNet(size, settings.patch, dropout))
    if settings.network == "CNN":
        return from_module(ConvNet(size, dropout))
    return cell_network(settings.network, settings.reading, PARAMETERS)


def predict_probabilities(network: Network, params: Any, images: Array) -> Array:
    """Predicts probabilities [N, 10] of the digits in `images` [N, 28, 28], from 0 to 255."""

    def logits(images: Array) -> Array:
        return network.logits(params, images / 255.0, None)

    return jax.nn.softmax(training.map_batches(logits, images, batch_size=100))


def image_training(
    settings: Settings, data: Splits, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one network; the learning rate may be traced."""
    network = make_network(settings, count_classes(data.train))
    examples = {"images": jnp.asarray(data.train.images), "labels": jnp.asarray(data.train.labels)}

    def loss(params: Any, batch: dict[str, Array], key: Array) -> Array:
        distortion_key, dropout_key = jax.random.split(key)
        images = distort(distortion_key, batch["images"] / 255.0, settings.distortion)
        images = images.astype(jax.tree.leaves(params)[0].dtype)
        logits = network.logits(params, images, dropout_key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"]).mean()

    def evaluate(params: Any) -> dict[str, Array]:
        probabilities = predict_probabilities(network, params, data.validation.images)
        labels = data.validation.labels
        likelihoods = probabilities[jnp.arange(len(labels)), labels]
        return {
            "validation_log_likelihood": jnp.log(likelihoods).mean(),
            "validation_accuracy": (probabilities.argmax(-1) == labels).mean(),
        }

    return training.make_standard_training(
        settings,
        learning_rate,
        init_params=network.init,
        loss=loss,
        evaluate=evaluate,
        score="validation_log_likelihood",
        examples=examples,
    )


def make_train(settings: Settings, data: Splits) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics per epoch [E]."""
    return training.as_function(image_training, settings, data)


def count_classes(images: Digits) -> int:
    """The number of classes; each has training images."""
    return int(images.labels.max()) + 1


def train_and_test(
    plan: training.Training, settings: Settings, test: Digits, seed: int, directory: Path
) -> tuple[Any, np.ndarray]:
    """Trains, or loads a finished training. Returns: parameters, test probabilities [N, C]."""
    record = {"settings": asdict(settings), "seed": seed}
    state = loop.run(plan, jax.random.key(seed), directory, record, directory.name)
    network = make_network(settings, count_classes(test))
    classify = jax.jit(partial(predict_probabilities, network))
    return state.best_params, np.asarray(classify(state.best_params, test.images))


def train_cell(settings: Settings, data: Splits, folders: Sequence[Path]) -> CellResult:
    """Trains one cell with the seeds 0, 1, ..., each in its folder.

    Its gradient flow before and after is measured on validation digits, in the geometric mean.
    """
    plan = image_training(settings, data, settings.learning_rate)
    init = jax.jit(plan.init)
    batch = (data.validation.images[:32] / 255.0, data.validation.labels[:32])
    flow = jax.jit(partial(gradient_flow, settings.network, settings.reading))
    accuracies, before, after = [], [], []
    for seed, folder in enumerate(folders):
        params, probabilities = train_and_test(plan, settings, data.test, seed, folder)
        accuracies.append(accuracy(probabilities.argmax(-1), data.test))
        untrained = init(jax.random.key(seed)).params
        before.append(np.asarray(flow(untrained, *batch).profile[0]))
        after.append(np.asarray(flow(params, *batch).profile[0]))
    profiles = (geometric_mean(np.stack(profiles)) for profiles in (before, after))
    return CellResult(accuracies, *profiles, read_records(folders[0] / loop.METRICS))


def calibrate_network(
    settings: Settings, params: Any, data: Splits, probabilities: np.ndarray
) -> tuple[dict[str, Any], dict[str, float]]:
    """Fits a network's temperature to the validation digits, and measures it on the test digits.

    Args:
      settings: of the network.
      params: its parameters.
      data: the digits.
      probabilities: [N, 10], of the test digits.

    Returns: what is saved with the network, and the calibration errors.
    """
    network = make_network(settings, count_classes(data.train))
    classify = jax.jit(partial(predict_probabilities, network))
    validation = to_log_probs(classify(params, data.validation.images))
    temperature = fit_temperature(validation, data.validation.labels)
    before, after = (
        calibration_error(calibrate(to_log_probs(probabilities), value), data.test.labels)
        for value in (1.0, temperature)
    )
    ranges = fit_ranges(data.train.images / 255.0)
    record = {"settings": asdict(settings), "temperature": temperature, "strokes": ranges}
    return record, {"temperature": temperature, "error before": before, "error after": after}


def experiment(command: Command) -> None:
    """Trains all networks and compares them on the test set."""
    data = split_three_ways(read_digits())
    print(f"Training takes about {MINUTES[command.quick]} minutes on an idle CPU core.")
    both = Digits(*map(np.concatenate, zip(data.train, data.validation, strict=True)))
    accuracies = {
        "logistic regression": [accuracy(logistic_regression(both, data.test.images), data.test)],
        "support vector machine": [
            accuracy(support_vector_machine(both, data.test.images), data.test)
        ],
    }
    probabilities, records, confidence = {}, {}, {}
    for name, settings in command.larger().items():
        plan = image_training(settings, data, settings.learning_rate)
        for seed in range(command.seeds):
            directory = command.out / f"{settings.network}-seed{seed}"
            params, probabilities[name] = train_and_test(plan, settings, data.test, seed, directory)
            record, confidence[directory.name] = calibrate_network(
                settings, params, data, probabilities[name]
            )
            save_model(directory / MODEL, params, record, [])
            correct = accuracy(probabilities[name].argmax(-1), data.test)
            accuracies.setdefault(name, []).append(correct)
            records[directory.name] = read_records(directory / loop.METRICS)
    cell_results = {
        reading: {
            cell: train_cell(
                settings,
                data,
                [
                    command.out / f"{reading}-{cell}-seed{seed}"
                    for seed in range(command.cell_seeds)
                ],
            )
            for cell, settings in row.items()
        }
        for reading, row in command.cells().items()
    }
    best = (data.test, probabilities[next(iter(LARGER))])
    write_report(accuracies, confidence, cell_results, PARAMETERS, best, command.out)
    draw_learning_curves(records, command.out)
    print(f"\nresults.json, figures and models are in {command.out}.")


def experiment_on_own(command: Command, folder: Path) -> None:
    """Trains the bidirectional GRU on the user's images, and tests it on some of them."""
    data, names, notes = read_class_folders(folder)
    print("\n".join(notes))
    batch_size = min(command.settings.batch_size, len(data.train.labels))
    settings = replace(command.settings, batch_size=batch_size)
    plan = image_training(settings, data, settings.learning_rate)
    out = own_directory(command.out, folder)
    digest = hashlib.sha256(data.train.images.tobytes()).hexdigest()[:16]
    params, probabilities = train_and_test(plan, settings, data.test, 0, out / digest)
    record, confidence = calibrate_network(settings, params, data, probabilities)
    save_model(out / MODEL, params, record, names)
    report_own(data, names, probabilities, confidence, out)
    print(f"\nresults.json, a plot and the model are in {out}.")


def load_network(path: Path) -> tuple[Network, Any, dict[str, Any], list[str]]:
    """Loads a network. Returns: it, its parameters, the record, and its classes, if not digits."""
    params, record, names = load_model(path, COMMAND)
    distortion = Distortion(*record["settings"]["distortion"])
    settings = Settings(**record["settings"] | {"distortion": distortion})
    return make_network(settings, len(names or DIGITS)), params, record, names


def predict_own(path: Path, file: Path) -> str:
    """Classifies an image file with the network that was trained on the user's images."""
    network, params, record, names = load_network(path)
    image = read_own_image(file)
    log_probs = to_log_probs(predict_probabilities(network, params, image[None]))[0]
    return describe_answer(calibrate(log_probs, record["temperature"]), names)


def predict(out: Path, file: Path) -> str:
    """Classifies the digit in an image file with the saved networks."""
    image = to_mnist(read_image(file))
    lines = [to_text(image)]
    for name, settings in LARGER.items():
        path = out / f"{settings.network}-seed0" / MODEL
        network, params, record, _ = load_network(path)
        log_probs = to_log_probs(predict_probabilities(network, params, 255 * image[None]))[0]
        probabilities = calibrate(log_probs, record["temperature"])
        doubt = find_doubt(image, record["strokes"])
        answer = describe_answer(probabilities, DIGITS)
        lines.append(f"{name}: {f'unsure: {log_probs.argmax()}' if doubt else answer}")
    if doubt:
        lines.append(f"probably no digit: the image has {doubt}")
    return "\n".join(lines)


def export(path: Path) -> None:
    """Writes a saved bidirectional GRU as an ONNX file beside it."""
    network, params, record, names = load_network(path)
    temperature = record["temperature"]

    @jax.jit
    def run(images: Array) -> list[Array]:
        return [jax.nn.softmax(network.logits(params, images, None) / temperature)]

    model = set_metadata(build_model(params, temperature), classes=names or DIGITS)
    examples = draw_examples({"images": (3, SIDE, SIDE)}, {"images": (1, SIDE // 2, SIDE)})
    export_model(path.with_suffix(".onnx"), model, run, examples)


def main(command: Command) -> None:
    """Runs the command."""
    if command.export is not None and command.train is not None:
        return export(own_directory(command.out, command.train) / MODEL)
    if command.export is not None:
        return export(command.out / "bidirectional-seed0" / MODEL)
    if command.train is not None and command.predict is not None:
        path = own_directory(command.out, command.train) / MODEL
        return print(predict_own(path, command.predict))
    if command.predict is not None:
        return print(predict(command.out, command.predict))
    if command.train is not None:
        return experiment_on_own(command, command.train)
    if command.compare:
        from experiments.images.compare import main as compare  # which imports this module

        return compare(command)
    experiment(command)
