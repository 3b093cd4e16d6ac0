"""Images as sequences: handwritten digits read row by row, pixel by pixel, and in sweeps.

Of 5,000 digits of MNIST 3,600 train, 400 choose settings and epochs, 1,000 test. A GRU, an LSTM, a
minimal GRU of three layers and a plain RNN of equally many parameters read them by rows, as 14 x 14
pixels, these in a random order, and as 784 pixels one by one, alike but for the learning rate. A
GRU in both directions, ReNet's sweeps and a CNN see more at once. All train on distorted digits.

    python -m experiments.images                         about 14 minutes of one core's time
    python -m experiments.images --quick                 2 minutes: two cells, two readings
    python -m experiments.images --predict digit.png     one digit, any size; PNG or .npy

Test digits right, in %, mean ± sd of three seeds: bidirectional GRU by rows 98.3 ±0.3, ReNet 98.1
±0.5, CNN 98.0 ±0.3, SVM 96.9. Cells (GRU / LSTM / minGRU / RNN): rows 96.9 / 97.4 / 96.3 / 91.7;
14x14 93.3 / 91.1 / 88.0 / 76.7; in the few epochs that time allowed, permuted 42 / 46 / 36 / 64,
pixels 79 / 50 / 70 / 23. Over 784 steps 4e-23 of an untrained RNN's gradient is left: each step
multiplies it by 1 − h², which is below 1 as soon as there was ink. Gates keep a tenth or more.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
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
from experiments.common.training.metrics import read_records
from experiments.common.training.models import load_model, save_model
from experiments.images.baselines import logistic_regression, support_vectors
from experiments.images.distortions import SLIGHT, STRONG, Distortion, distort
from experiments.images.files import like_mnist, read_image, sketch
from experiments.images.networks import ConvNet, ReNet, RowReader, from_module
from experiments.images.report import Read, accuracy, draw_learning_curves, write_report
from experiments.images.sequences import Network, cell_network, gradient_flow
from experiments.vision.digits import Digits, Parts, read_digits, split_in_three

COMMAND = "python -m experiments.images"
MODEL = "model.msgpack"
MINUTES = {False: 14, True: 2}  # of the whole command on an idle core, without and with --quick
PARAMETERS = 8000  # of a cell's layers, about


@dataclass(frozen=True)
class Settings:
    """What determines a trained network."""

    network: str  # a cell, which reads the image as `reading` says, or one of LARGER
    reading: str = "rows"  # see `experiments.images.sequences`
    hidden_size: int = 64  # not of a cell: in each direction; the CNN's first convolution
    num_layers: int = 2  # of the reader in both directions
    patch: int = 4  # pixels, the side of ReNet's squares
    dropout: float = 0.3  # not of a cell
    distortion: Distortion = STRONG  # of the training images, drawn anew for each batch
    batch_size: int = 64
    epochs: int = 24
    learning_rate: float = 3e-3  # the peak, after one epoch of warm-up; then a cosine
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0


LARGER = {
    "bidirectional GRU by rows": Settings("bidirectional"),
    "ReNet": Settings("ReNet", hidden_size=32),
    "CNN": Settings("CNN", hidden_size=8),
}
RATES = {"gru": 1e-2, "lstm": 1e-2, "min_gru": 1e-2, "rnn": 1e-3}  # the best of a few, validated
EPOCHS = {"rows": 16, "14x14": 24, "permuted": 5, "pixels": 4}
QUICK_EPOCHS = {"rows": 3, "14x14": 3}
QUICK_CELLS = ("gru", "rnn")
CELL = Settings("gru", distortion=SLIGHT, batch_size=32)


def cell_settings(quick: bool) -> dict[str, dict[str, Settings]]:
    """What each cell is trained with, for each reading."""
    return {
        reading: {
            cell: replace(CELL, network=cell, reading=reading, epochs=count, learning_rate=rate)
            for cell, rate in RATES.items()
            if not quick or cell in QUICK_CELLS
        }
        for reading, count in (QUICK_EPOCHS if quick else EPOCHS).items()
    }


def make_network(settings: Settings) -> Network:
    """The network of these settings."""
    size, dropout = settings.hidden_size, settings.dropout
    if settings.network == "bidirectional":
        return from_module(RowReader(size, settings.num_layers, dropout))
    if settings.network == "ReNet":
        return from_module(ReNet(size, settings.patch, dropout))
    if settings.network == "CNN":
        return from_module(ConvNet(size, dropout))
    return cell_network(settings.network, settings.reading, PARAMETERS)


def probabilities(network: Network, params: Any, images: Array) -> Array:
    """The probabilities [N, 10] of the digits in `images` [N, 28, 28], from 0 to 255."""

    def some(images: Array) -> Array:
        return network.logits(params, images / 255.0, None)

    return jax.nn.softmax(training.map_batches(some, images, batch_size=100))


def image_training(
    settings: Settings, data: Parts, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one network; the learning rate may be traced."""
    network = make_network(settings)
    examples = {"images": jnp.asarray(data.train.images), "labels": jnp.asarray(data.train.labels)}

    def loss(params: Any, batch: dict[str, Array], key: Array) -> Array:
        distortion_key, dropout_key = jax.random.split(key)
        images = distort(distortion_key, batch["images"] / 255.0, settings.distortion)
        images = images.astype(jax.tree.leaves(params)[0].dtype)
        logits = network.logits(params, images, dropout_key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"]).mean()

    def evaluate(params: Any) -> dict[str, Array]:
        chances = probabilities(network, params, data.validation.images)
        labels = data.validation.labels
        return {
            "validation_log_likelihood": jnp.log(chances[jnp.arange(len(labels)), labels]).mean(),
            "validation_accuracy": (chances.argmax(-1) == labels).mean(),
        }

    return training.make_usual_training(
        settings,
        learning_rate,
        init_params=network.init,
        loss=loss,
        evaluate=evaluate,
        score="validation_log_likelihood",
        examples=examples,
    )


def make_train(settings: Settings, data: Parts) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(image_training, settings, data)


def train_and_test(
    plan: training.Training, settings: Settings, test: Digits, seed: int, directory: Path
) -> tuple[Any, np.ndarray]:
    """Trains, or finds the finished training. Returns: parameters, test probabilities [N, 10]."""
    record = {"settings": asdict(settings), "seed": seed}
    state = loop.run(plan, jax.random.key(seed), directory, record, directory.name)
    classify = jax.jit(partial(probabilities, make_network(settings)))
    return state.best_params, np.asarray(classify(state.best_params, test.images))


def read_with(settings: Settings, data: Parts, directory: Path) -> Read:
    """Trains one cell, and looks at its gradients before and after on the validation set."""
    plan = image_training(settings, data, settings.learning_rate)
    params, chances = train_and_test(plan, settings, data.test, 0, directory)
    untrained = jax.jit(plan.init)(jax.random.key(0)).params
    some = (data.validation.images[:32] / 255.0, data.validation.labels[:32])
    flow = jax.jit(partial(gradient_flow, settings.network, settings.reading))
    profiles = [np.asarray(flow(p, *some).profile[0]) for p in (untrained, params)]
    right = accuracy(chances.argmax(-1), data.test)
    return Read(right, *profiles, read_records(directory / loop.METRICS))


def experiment(command: "Command") -> None:
    """Trains all networks and compares them on the test set."""
    data = split_in_three(read_digits())
    print(f"About {MINUTES[command.quick]} minutes on an idle CPU core.")
    known = Digits(*map(np.concatenate, zip(data.train, data.validation, strict=True)))
    right = {
        "logistic regression": [accuracy(logistic_regression(known, data.test.images), data.test)],
        "support vector machine": [accuracy(support_vectors(known, data.test.images), data.test)],
    }
    chances, records = {}, {}
    for name, settings in LARGER.items():
        settings = replace(settings, epochs=4) if command.quick else settings
        plan = image_training(settings, data, settings.learning_rate)
        for seed in range(1 if command.quick else command.seeds):
            directory = command.out / f"{settings.network}-seed{seed}"
            params, chances[name] = train_and_test(plan, settings, data.test, seed, directory)
            save_model(directory / MODEL, params, {"settings": asdict(settings)}, [])
            right.setdefault(name, []).append(accuracy(chances[name].argmax(-1), data.test))
            records[directory.name] = read_records(directory / loop.METRICS)
    compared = {
        reading: {
            cell: read_with(settings, data, command.out / f"{reading}-{cell}")
            for cell, settings in row.items()
        }
        for reading, row in cell_settings(command.quick).items()
    }
    shown = (data.test, chances[next(iter(LARGER))])
    write_report(right, compared, PARAMETERS, shown, command.out)
    draw_learning_curves(records, command.out)
    print(f"\nresults.json, figures and models are in {command.out}.")


def predict(out: Path, file: Path) -> str:
    """What the saved networks read in a file."""
    image = like_mnist(read_image(file))
    lines = [sketch(image)]
    for name, settings in LARGER.items():
        params, record, _ = load_model(out / f"{settings.network}-seed0" / MODEL, COMMAND)
        distortion = Distortion(*record["settings"]["distortion"])
        settings = Settings(**record["settings"] | {"distortion": distortion})
        chances = np.asarray(probabilities(make_network(settings), params, 255 * image[None]))[0]
        best = chances.argsort()[::-1][:3]
        lines.append(f"{name}: " + ", ".join(f"{digit} {chances[digit]:.1%}" for digit in best))
    return "\n".join(lines)


@dataclass(frozen=True)
class Command:
    """Trains networks to read digits and compares them, or asks the trained ones."""

    seeds: int = 3  # trainings of each of the larger networks
    quick: bool = False  # two cells, two readings, fewer epochs
    out: Path = Path("runs/images")  # where everything is written
    predict: Path | None = None  # a PNG or .npy file of one digit to read, instead of training


def main(command: Command) -> None:
    """Runs the command."""
    if command.quick:
        command = replace(command, out=command.out / "quick")
    if command.predict is None:
        return experiment(command)
    print(predict(command.out, command.predict))


def cli() -> None:
    """Runs the command line."""
    run_command(main, Command, __doc__, trains=True)
