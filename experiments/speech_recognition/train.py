"""Speech recognition: GRUs trained with CTC on strings of spoken digits, offline and streaming.

The digits are 3,000 real recordings of six speakers, given as 13 cepstral coefficients (MFCCs) per
frame. Strings of 3 to 7 digits are joined from them with cross-fades and pauses; each epoch draws
new ones, with changed speed and added noise. No recording is in two parts of the split, but all
speakers are in all parts: the results do not tell how well a new speaker would be recognized. One
network reads a whole string in both directions; the other reads it frame by frame.

    python -m experiments.speech_recognition            9 minutes of a busy core
    python -m experiments.speech_recognition --quick    3 minutes, 4 epochs
    python -m experiments.speech_recognition --predict runs/speech_recognition/example.npy

`--predict` takes a .npy file with an array [T, 13] of MFCCs like the data set's. It cannot take
audio, because the data set does not say how its MFCCs were computed.

Results on 2,000 strings of the 600 test utterances, digit errors (95% interval, by bootstrap over
utterances) and strings right: bidirectional 0.53% (0.17 to 1.11), 97.5%; streaming 0.87%
(0.45 to 1.51), 96.0%, where most digits are recognized before they end. Single utterances right:
bidirectional 99.7%, streaming 97.2%, nearest neighbor by dynamic time warping 99.3%, support vector
machine 98.8%.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.outputs import reporting
from experiments.common.provenance import command_line
from experiments.common.training import loop
from experiments.common.training.models import load_model, save_model
from experiments.speech import ctc
from experiments.speech.digit_strings import (
    DigitStrings,
    Pool,
    draw_strings,
    make_pool,
)
from experiments.speech.distortion import Distortion
from experiments.speech.recognizer import Recognizer, stream_digits
from experiments.speech.scores import edit_distances
from experiments.speech.spoken_digits import (
    CLASSES,
    COEFFICIENTS,
    Corpus,
    Standardizer,
    read_cepstra,
    read_corpus,
)
from experiments.speech_recognition.report import recognize_strings, to_digits, write_report
from experiments.speech_recognition.settings import Command, Settings

COMMAND = "python -m experiments.speech_recognition"
MODEL, EXAMPLE = "model.msgpack", "example.npy"
DIGITS = (3, 7)  # the fewest and the most digits of a validation or test string
WIDTH = 288  # the most frames of a validation or test string
NUM_VALIDATION = 400  # strings
BEAMS = 8
MINUTES = {False: 5.5, True: 2.2}  # for the whole command, without and with --quick


class Data(NamedTuple):
    """The data of one training."""

    train: Pool
    validation: DigitStrings


def prepare(corpus: Corpus) -> Data:
    """Makes the pool for the training strings, and draws the validation strings."""
    pool = make_pool(corpus.validation)
    strings = draw_strings(jax.random.key(1), pool, NUM_VALIDATION, DIGITS, WIDTH)
    return Data(make_pool(corpus.train), strings)


def make_recognizer(settings: Settings) -> Recognizer:
    """Builds the network."""
    return Recognizer(
        settings.hidden_size,
        settings.num_layers,
        settings.bidirectional,
        settings.stride,
        settings.dropout,
    )


def make_training(
    settings: Settings, data: Data, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one recognizer; the learning rate may be traced."""
    model = make_recognizer(settings)

    def loss(params: Any, batch: Array, key: Array) -> Array:
        draw_key, dropout_key = jax.random.split(key)
        strings = draw_strings(
            draw_key, data.train, len(batch), (DIGITS[1],) * 2, settings.width, settings.distortion
        )
        frames = strings.frames.astype(jax.tree.leaves(params)[0].dtype)
        _, log_probs = model.apply(
            params, frames, strings.lengths, train=True, rngs={"dropout": dropout_key}
        )
        steps = strings.lengths // settings.stride
        return ctc.ctc_loss(log_probs.astype(float), steps, strings.digits).mean()

    def measure(params: Any, strings: DigitStrings) -> tuple[Array, Array]:
        _, log_probs = model.apply(params, strings.frames, strings.lengths)
        steps = strings.lengths // settings.stride
        labels = ctc.decode_greedy(log_probs, steps).labels
        errors = edit_distances(strings.digits + 1, labels, ctc.BLANK)
        return errors, ctc.ctc_loss(log_probs, steps, strings.digits)

    def evaluate(params: Any) -> dict[str, Array]:
        strings = data.validation
        errors, losses = training.map_batches(
            lambda batch: measure(params, batch), strings, batch_size=100
        )
        return {
            "validation_log_likelihood": -losses.mean(),
            "validation_digits_right": 1 - errors.sum() / (strings.digits >= 0).sum(),
            "validation_strings_right": (errors == 0).mean(),
        }

    return training.make_standard_training(
        settings,
        learning_rate,
        init_params=lambda key: model.init(key, jnp.zeros((1, settings.stride, COEFFICIENTS))),
        loss=loss,
        evaluate=evaluate,
        score="validation_log_likelihood",
        examples=jnp.arange(settings.num_strings),  # `loss` draws the strings
    )


def make_train(settings: Settings, data: Data) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(make_training, settings, data)


def experiment(command: Command) -> None:
    """Trains both networks and compares them on the test set."""
    minutes = MINUTES[command.quick]
    print(f"Training two networks, then the report: about {minutes} minutes of an idle CPU core.")
    corpus = read_corpus()
    data = prepare(corpus)
    networks = {}
    for name, settings in command.trainings().items():
        plan = make_training(settings, data, settings.learning_rate)
        record = {"settings": asdict(settings)}
        state = loop.run(plan, jax.random.key(settings.seed), command.out / name, record, name)
        record["scale"] = [column.tolist() for column in corpus.standardizer]
        words = [str(digit) for digit in range(CLASSES)]
        save_model(command.out / name / MODEL, state.best_params, record, words)
        networks[name] = (make_recognizer(settings), state.best_params)
    pool = make_pool(corpus.test)
    strings = draw_strings(jax.random.key(2), pool, command.num_test, DIGITS, WIDTH)
    strings = jax.tree.map(np.asarray, strings)
    write_report(networks, corpus, strings, BEAMS, command.out)
    example = command.out / EXAMPLE
    with reporting(example):
        np.save(example, corpus.standardizer.restore(strings.frames[0, : strings.lengths[0]]))
    line = command_line(COMMAND, "--predict", str(example))
    print(f"\nPlots and models are in {command.out}. Try: {line}")


def load_recognizer(directory: Path) -> tuple[Recognizer, Any, Standardizer]:
    """Loads a saved network, its parameters, and the standardizer of its input."""
    params, record, _ = load_model(directory / MODEL, COMMAND)
    distortion = Distortion(*record["settings"]["distortion"])
    settings = Settings(**record["settings"] | {"distortion": distortion})
    return make_recognizer(settings), params, Standardizer(*map(np.array, record["scale"]))


def predict(out: Path, file: Path) -> str:
    """The digits that the saved networks recognize in a file of MFCCs."""
    cepstra = read_cepstra(file)
    model, params, standardizer = load_recognizer(out / "bidirectional")
    frames = standardizer.standardize(cepstra)
    lengths = np.array([len(frames)])
    recognition = recognize_strings(model, params, frames[None], lengths, BEAMS)
    [digits] = to_digits(recognition.beam_search)
    model, params, _ = load_recognizer(out / "streaming")
    stream = [f"{digit} ({num_read})" for digit, num_read in stream_digits(model, params, frames)]
    return (
        f"{' '.join(map(str, digits)) or 'nothing'}\n"
        f"streaming, with the number of frames read: {' '.join(stream) or 'nothing'}"
    )


def main(command: Command) -> None:
    """Trains or predicts, as the command says."""
    if command.predict is not None:
        return print(predict(command.out, command.predict))
    experiment(command)
