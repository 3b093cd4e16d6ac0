"""Speech recognition: connected spoken digits, GRUs trained with CTC, whole strings or streams.

The digits are 3,000 real recordings of six speakers, of which the data have 13 cepstral
coefficients (MFCCs) a frame. Strings of 3 to 7 digits are joined from them, cross-faded, with
pauses; training draws new ones in every epoch, at other speeds and with noise. No recording lies
on two sides of the split, but all speakers do: nothing is said about new speakers. One network
reads a string in both directions; the other listens as the frames come.

    python -m experiments.speech_recognition            9 minutes of a busy core
    python -m experiments.speech_recognition --quick    3 minutes, 4 epochs
    python -m experiments.speech_recognition --predict runs/speech_recognition/example.npy

Audio cannot be given: the data do not say how their MFCCs were computed. `--predict` takes a .npy
file with an array [T, 13] of MFCCs like theirs.

Measured on 2,000 strings of the 600 test utterances, digit errors (95% interval, by bootstrap over
utterances) and strings right: in both directions 0.53% (0.17 to 1.11), 97.5%; frame by frame 0.87%
(0.45 to 1.51), 96.0%, mostly heard before a digit ends. Of single utterances 99.7% and 97.2% are
right; the nearest neighbour by dynamic time warping has 99.3%, a support vector machine 98.8%.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.command import run_command
from experiments.common.training import loop
from experiments.common.training.models import load_model, save_model
from experiments.speech import ctc
from experiments.speech.digit_strings import Distortion, Pool, Strings, draw_strings, make_pool
from experiments.speech.recognizer import Recogniser, listen
from experiments.speech.scores import edit_distances
from experiments.speech.spoken_digits import (
    CLASSES,
    COEFFICIENTS,
    Corpus,
    Scale,
    read_cepstra,
    read_corpus,
)
from experiments.speech_recognition.report import as_digits, hear_strings, write_report

COMMAND = "python -m experiments.speech_recognition"
MODEL, EXAMPLE = "model.msgpack", "example.npy"
DIGITS = (3, 7)  # of a validation or test string, the least and the most
WIDTH = 288  # frames of a validation or test string at most
NUM_VALIDATION = 400  # strings
BEAMS = 8
MINUTES = {False: 5.5, True: 2.2}  # of the whole command, without and with --quick
DISTORTION = Distortion(speed=0.2, loudness=0.5, colour=0.3, noise=0.8, masked=8.0)


@dataclass(frozen=True)
class Settings:
    """What determines a trained recogniser."""

    bidirectional: bool = True  # False: it can listen frame by frame
    hidden_size: int = 128  # in each direction
    num_layers: int = 2
    stride: int = 2  # frames that make one step
    dropout: float = 0.4  # of what goes into each layer but the first, and out of the last
    distortion: Distortion = DISTORTION
    width: int = 144  # frames of a training string: as many digits as fit, 7 at most
    num_strings: int = 1600  # in an epoch, drawn anew in each
    batch_size: int = 32
    epochs: int = 24
    learning_rate: float = 3e-3  # the peak, after one epoch of warm-up; then a cosine
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0


SETTINGS = {
    "bidirectional": Settings(),
    "streaming": Settings(bidirectional=False, hidden_size=192, num_layers=3),
}
QUICK = {name: replace(settings, epochs=4) for name, settings in SETTINGS.items()}


class Data(NamedTuple):
    """What one training needs."""

    train: Pool
    validation: Strings


def prepare(corpus: Corpus) -> Data:
    """The pool that training strings are drawn from, and the validation strings."""
    pool = make_pool(corpus.validation)
    strings = draw_strings(jax.random.key(1), pool, NUM_VALIDATION, DIGITS, WIDTH)
    return Data(make_pool(corpus.train), strings)


def make_recogniser(settings: Settings) -> Recogniser:
    """The network of these settings."""
    return Recogniser(
        settings.hidden_size,
        settings.num_layers,
        settings.bidirectional,
        settings.stride,
        settings.dropout,
    )


def recogniser_training(
    settings: Settings, data: Data, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one recogniser; the learning rate may be traced."""
    model = make_recogniser(settings)

    def loss(params: Any, batch: Array, key: Array) -> Array:
        draw, dropout = jax.random.split(key)
        strings = draw_strings(
            draw, data.train, len(batch), (DIGITS[1],) * 2, settings.width, settings.distortion
        )
        frames = strings.frames.astype(jax.tree.leaves(params)[0].dtype)
        heard = model.apply(params, frames, strings.lengths, None, True, rngs={"dropout": dropout})
        return ctc.ctc_loss(
            heard[1].astype(float), strings.lengths // settings.stride, strings.digits
        ).mean()

    def measure(params: Any, strings: Strings) -> tuple[Array, Array]:
        _, log_probs = model.apply(params, strings.frames, strings.lengths)
        steps = strings.lengths // settings.stride
        heard = ctc.greedy(log_probs, steps).labels
        errors = edit_distances(strings.digits + 1, heard, ctc.BLANK)
        return errors, ctc.ctc_loss(log_probs, steps, strings.digits)

    def evaluate(params: Any) -> dict[str, Array]:
        strings = data.validation
        errors, losses = training.map_batches(
            lambda part: measure(params, part), strings, batch_size=100
        )
        return {
            "validation_log_likelihood": -losses.mean(),
            "validation_digits_right": 1 - errors.sum() / (strings.digits >= 0).sum(),
            "validation_strings_right": (errors == 0).mean(),
        }

    return training.make_usual_training(
        settings,
        learning_rate,
        init_params=lambda key: model.init(key, jnp.zeros((1, settings.stride, COEFFICIENTS))),
        loss=loss,
        evaluate=evaluate,
        score="validation_log_likelihood",
        examples=jnp.arange(settings.num_strings),  # what they are is drawn in `loss`
    )


def make_train(settings: Settings, data: Data) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(recogniser_training, settings, data)


def experiment(command: "Command") -> None:
    """Trains both networks, and compares them on the test set."""
    minutes = MINUTES[command.quick]
    print(f"Training two networks, then the report: about {minutes} minutes of an idle CPU core.")
    corpus = read_corpus()
    data = prepare(corpus)
    networks = {}
    for name, settings in (QUICK if command.quick else SETTINGS).items():
        plan = recogniser_training(settings, data, settings.learning_rate)
        record = {"settings": asdict(settings)}
        state = loop.run(plan, jax.random.key(0), command.out / name, record, name)
        record["scale"] = [column.tolist() for column in corpus.scale]
        words = [str(digit) for digit in range(CLASSES)]
        save_model(command.out / name / MODEL, state.best_params, record, words)
        networks[name] = (make_recogniser(settings), state.best_params)
    pool = make_pool(corpus.test)
    strings = draw_strings(jax.random.key(2), pool, command.num_test, DIGITS, WIDTH)
    strings = jax.tree.map(np.asarray, strings)
    write_report(networks, corpus, strings, BEAMS, command.out)
    example = command.out / EXAMPLE
    np.save(example, corpus.scale.restored(strings.frames[0, : strings.lengths[0]]))
    print(f"\nPlots and models are in {command.out}. Try: {COMMAND} --predict {example}")


def load_recogniser(directory: Path) -> tuple[Recogniser, Any, Scale]:
    """Loads a saved network, its parameters, and the scale of what it hears."""
    params, record, _ = load_model(directory / MODEL, COMMAND)
    distortion = Distortion(*record["settings"]["distortion"])
    settings = Settings(**record["settings"] | {"distortion": distortion})
    return make_recogniser(settings), params, Scale(*map(np.array, record["scale"]))


def predict(out: Path, file: Path) -> str:
    """What the saved networks hear in a file of MFCCs."""
    cepstra = read_cepstra(file)
    model, params, scale = load_recogniser(out / "bidirectional")
    frames = scale.scaled(cepstra)
    heard = hear_strings(model, params, frames[None], np.array([len(frames)]), BEAMS)
    [whole] = as_digits(heard.beams)
    model, params, _ = load_recogniser(out / "streaming")
    stream = [f"{digit} ({come})" for digit, come in listen(model, params, frames)]
    return (
        f"{' '.join(map(str, whole)) or 'nothing'}\n"
        f"frame by frame, after how many frames: {' '.join(stream) or 'nothing'}"
    )


@dataclass(frozen=True)
class Command:
    """Trains two recognisers and compares them, or asks the trained ones."""

    num_test: int = 2000  # test strings
    quick: bool = False  # fewer epochs
    out: Path = Path("runs/speech_recognition")  # where everything is written
    predict: Path | None = None  # a .npy file of MFCCs [T, 13] to recognise, instead of training


def main(command: Command) -> None:
    """Runs the command."""
    if command.quick:
        command = replace(command, out=command.out / "quick")
    if command.predict is None:
        return experiment(command)
    try:
        print(predict(command.out, command.predict))
    except ValueError as error:
        raise SystemExit(f"error: {error}") from error


def cli() -> None:
    """Runs the command line."""
    run_command(main, Command, __doc__, trains=True)
