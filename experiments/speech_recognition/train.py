"""Speech recognition: GRUs trained with CTC on strings of spoken digits, offline and streaming.

The digits are 3,000 real recordings of six speakers, given as 13 cepstral coefficients (MFCCs) per
frame. Strings of 3 to 7 digits are joined from them with cross-fades and pauses; each epoch draws
new ones, with changed speed and added noise. No recording is in two parts of the split, but all
speakers are in all parts: the results do not tell how well a new speaker would be recognized. One
network reads a whole string in both directions; the other reads it frame by frame.

    python -m experiments.speech_recognition            9 minutes of a busy core
    python -m experiments.speech_recognition --quick    3 minutes, 4 epochs
    python -m experiments.speech_recognition --predict digits.wav
    python -m experiments.speech_recognition --train recordings    your own WAV files
    python -m experiments.speech_recognition --compare    beside an LSTM, an RNN and others

`--predict` takes a WAV file, whose MFCCs are computed as those of the data set were, or a .npy file
with an array [T, 13] of them. Silence is answered "no speech".

Results on 2,000 strings of the 600 test utterances, digit errors (95% interval, by bootstrap over
utterances) and strings right: bidirectional 0.49% (0.16 to 0.98), 97.7%; streaming 0.77%
(0.33 to 1.33), 96.4%, where most digits are recognized before they end. Single utterances right:
bidirectional 99.5%, streaming 97.0%, nearest neighbor by dynamic time warping 99.3%, support vector
machine 98.8%.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.command import InputError
from experiments.common.data.user_files import own_directory
from experiments.common.outputs import reporting
from experiments.common.provenance import command_line
from experiments.common.training import loop
from experiments.common.training.models import save_model
from experiments.speech import ctc
from experiments.speech.digit_strings import DigitStrings, draw_strings, make_pool
from experiments.speech.recognizer import Recognizer, stream_digits
from experiments.speech.spoken_digits import (
    CLASSES,
    COEFFICIENTS,
    Corpus,
    read_cepstra,
    read_corpus,
)
from experiments.speech.wav_files import read_wav
from experiments.speech_recognition.examples import (
    Examples,
    distort,
    fit_ctc_temperature,
    validation_metrics,
)
from experiments.speech_recognition.front_end import RATE, speech_cepstra
from experiments.speech_recognition.onnx_model import export
from experiments.speech_recognition.own_recordings import OwnData, read_folder
from experiments.speech_recognition.own_report import report_own
from experiments.speech_recognition.report import write_report
from experiments.speech_recognition.settings import SETTINGS, Command, Settings
from experiments.speech_recognition.trained import load_recognizer, recognize

COMMAND = "python -m experiments.speech_recognition"
MODEL, EXAMPLE = "model.msgpack", "example.npy"
DIGITS = (3, 7)  # the fewest and the most digits of a validation or test string
WIDTH = 288  # the most frames of a validation or test string
NUM_VALIDATION = 400  # strings
BEAMS = 8
MINUTES = {False: 9, True: 2.2}  # for the whole command, without and with --quick


class Data(NamedTuple):
    """The data of one training."""

    draw: Callable[[Settings, Array, Array], Examples]  # from a key and the numbers of a batch
    validation: Examples
    num_labels: int


def prepare(corpus: Corpus) -> Data:
    """Training strings are joined anew for each batch; the validation strings are drawn once."""
    pool = make_pool(corpus.train)
    strings = draw_strings(
        jax.random.key(1), make_pool(corpus.validation), NUM_VALIDATION, DIGITS, WIDTH
    )

    def draw(settings: Settings, key: Array, batch: Array) -> Examples:
        shape = (len(batch), (DIGITS[1],) * 2, settings.width)
        return _examples(draw_strings(key, pool, *shape, settings.distortion))

    return Data(draw, _examples(strings), CLASSES)


def draw_test_strings(corpus: Corpus, count: int) -> DigitStrings:
    """Joins test utterances; the arrays are NumPy's."""
    strings = draw_strings(jax.random.key(2), make_pool(corpus.test), count, DIGITS, WIDTH)
    return jax.tree.map(np.asarray, strings)


def _examples(strings: DigitStrings) -> Examples:
    return Examples(strings.frames, strings.lengths, strings.digits)


def prepare_own(own: OwnData) -> Data:
    """Each batch has other distortions of the user's recordings."""
    train = Examples(*map(jnp.asarray, own.train))

    def draw(settings: Settings, key: Array, batch: Array) -> Examples:
        return distort(key, train.select(batch), settings.distortion)

    return Data(draw, own.validation, len(own.names))


def make_recognizer(settings: Settings, num_labels: int = CLASSES) -> Recognizer:
    """Builds the network. All its layers are in `experiments/speech/recognizer.py`."""
    return Recognizer(
        hidden_size=settings.hidden_size,
        num_layers=settings.num_layers,
        bidirectional=settings.bidirectional,
        stride=settings.stride,
        dropout=settings.dropout,
        num_labels=num_labels,
        cell=settings.cell,
    )


def make_training(
    settings: Settings, data: Data, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one recognizer; the learning rate may be traced."""
    model = make_recognizer(settings, data.num_labels)

    def loss(params: Any, batch: Array, key: Array) -> Array:
        draw_key, dropout_key = jax.random.split(key)
        examples = data.draw(settings, draw_key, batch)
        frames = examples.frames.astype(jax.tree.leaves(params)[0].dtype)  # [B, T, 13]
        _, log_probs = model.apply(  # [B, T // stride, num_labels + 1]
            params, frames, examples.lengths, train=True, rngs={"dropout": dropout_key}
        )
        steps = examples.lengths // model.stride
        return ctc.ctc_loss(log_probs.astype(float), steps, examples.labels).mean()

    return training.make_standard_training(
        settings,
        learning_rate,
        init_params=lambda key: model.init(key, jnp.zeros((1, settings.stride, COEFFICIENTS))),
        loss=loss,
        evaluate=lambda params: validation_metrics(model, params, data.validation),
        score="validation_log_likelihood",
        examples=jnp.arange(settings.num_strings),  # their numbers; `Data.draw` makes them
    )


def make_train(settings: Settings, data: Data) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(make_training, settings, data)


def train_network(
    settings: Settings,
    data: Data,
    directory: Path,
    identity: dict[str, Any],
    record: dict[str, Any],
    words: list[str],
) -> tuple[Recognizer, Any, float]:
    """Trains a network, and saves it.

    Args:
      settings: of the network and its training.
      data: to train on.
      directory: of the training.
      identity: JSON values that identify the data.
      record: JSON values that are saved with the network.
      words: the names of the labels.

    Returns: the network, its parameters, and its temperature.
    """
    plan = make_training(settings, data, settings.learning_rate)
    identity = {"settings": asdict(settings)} | identity
    state = loop.run(plan, jax.random.key(settings.seed), directory, identity, directory.name)
    model, params = make_recognizer(settings, data.num_labels), state.best_params
    temperature = fit_ctc_temperature(model, params, data.validation)
    record = identity | record | {"temperature": temperature}
    save_model(directory / MODEL, params, record, words)
    return model, params, temperature


def experiment(command: Command) -> None:
    """Trains both networks and compares them on the test set."""
    minutes = MINUTES[command.quick]
    print(f"Training two networks, then the report: about {minutes} minutes of an idle CPU core.")
    corpus = read_corpus()
    data = prepare(corpus)
    words = [str(digit) for digit in range(CLASSES)]
    networks, temperatures = {}, []
    for name, settings in command.trainings().items():
        record = {"scale": [column.tolist() for column in corpus.standardizer], "separator": " "}
        out = command.out / name
        *network, temperature = train_network(settings, data, out, {}, record, words)
        networks[name] = tuple(network)
        temperatures.append(temperature)
    strings = draw_test_strings(corpus, command.num_test)
    write_report(networks, corpus, strings, temperatures[0], BEAMS, command.out)
    example = command.out / EXAMPLE
    with reporting(example):
        np.save(example, corpus.standardizer.restore(strings.frames[0, : strings.lengths[0]]))
    line = command_line(COMMAND, "--predict", str(example))
    print(f"\nPlots and models are in {command.out}. Try: {line}")


def experiment_on_own(command: Command, folder: Path) -> None:
    """Trains a network on the user's recordings, and tests it on some of them."""
    own = read_folder(folder)
    print("\n".join(own.notes))
    settings = replace(command.settings, num_strings=len(own.train.lengths))
    digest = hashlib.sha256(own.train.frames.tobytes() + repr(own.names).encode()).hexdigest()
    scale = [column.tolist() for column in own.standardizer]
    record = {"scale": scale, "separator": own.separator}
    out, identity = own_directory(command.out, folder), {"recordings": digest[:16]}
    network = train_network(settings, prepare_own(own), out, identity, record, own.names)
    report_own(*network, own, BEAMS, out)
    line = command_line(COMMAND, "--predict", str(own.example))
    print(f"\nresults.json, a plot and the model are in {out}. Try: {line}")


def predict(command: Command, file: Path) -> str:
    """What the saved networks recognize in a WAV file, or in a file of MFCCs."""
    suffix = file.suffix.lower()
    if suffix not in (".wav", ".npy"):
        raise InputError(f"{file} must be a .wav file, or a .npy file of MFCCs.")
    cepstra = read_cepstra(file) if suffix == ".npy" else speech_cepstra(read_wav(file, RATE))
    if cepstra is None:
        return "no speech"
    if command.train is not None:
        own = own_directory(command.out, command.train) / MODEL
        trained = load_recognizer(own, COMMAND)
        return recognize(trained, cepstra, BEAMS)
    whole, streaming = (load_recognizer(command.out / name / MODEL, COMMAND) for name in SETTINGS)
    frames = streaming.standardizer.standardize(cepstra)
    digits = stream_digits(streaming.model, streaming.params, frames)
    stream = " ".join(f"{digit} ({num_read})" for digit, num_read in digits)
    return (
        f"{recognize(whole, cepstra, BEAMS)}\n"
        f"streaming, with the number of frames read: {stream or 'nothing'}"
    )


def main(command: Command) -> None:
    """Trains, predicts, or exports, as the command says."""
    if command.export is not None and command.train is not None:
        return export(own_directory(command.out, command.train) / MODEL, COMMAND)
    if command.export is not None:
        for name in SETTINGS:
            export(command.out / name / MODEL, COMMAND)
        return
    if command.predict is not None:
        return print(predict(command, command.predict))
    if command.train is not None:
        return experiment_on_own(command, command.train)
    if command.compare:
        from experiments.speech_recognition.compare import main as compare  # which imports this

        return compare(command)
    experiment(command)
