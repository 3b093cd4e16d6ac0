"""The listener: a recognizer that judges a synthesizer whose voice it never heard.

It learns from other voices of the same teacher, at many speeds and pitches, and is validated on
voices that it did not learn from. Its input is the cepstra of audio, with noise in training.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.training.models import load_model
from experiments.speech import ctc
from experiments.speech.recognizer import Recognizer, label_log_probs
from experiments.speech.scores import edit_distances
from experiments.speech.spoken_digits import (
    COEFFICIENTS,
    Standardizer,
    Utterances,
    fit_standardizer,
)
from experiments.speech_synthesis.audio import cepstra
from experiments.speech_synthesis.data import Speak, pad_digits, spell
from experiments.speech_synthesis.espeak import Voice
from experiments.speech_synthesis.settings import ListenerSettings

ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
VARIANTS = {  # of espeak-ng, except those that whisper or sound robotic
    "train": "f1 f2 f4 m1 m2 m4 m5 m7 m8 Alex Andy Annie Gene Hugo Lee Marco Mario adam anika "
    "announcer belinda david ed grandma klatt2 linda max rob steph",
    "validation": "f3 f5 m3 m6 Denis Michael paul quincy robert",
}
PAD_MULTIPLE = 128  # frames: few different lengths to compile
SPEEDS, PITCHES = (130, 220), (25, 75)  # words per minute; 0 to 99


class SpokenStrings(NamedTuple):
    """B spoken strings of at most D digits."""

    frames: np.ndarray  # float32 [B, T, 13], standardized cepstra, zero past the end
    lengths: np.ndarray  # int32 [B]
    digits: np.ndarray  # int32 [B, D], -1 past the last


class ListenerData(NamedTuple):
    """The data of one training, and the standardizer of the cepstra."""

    train: SpokenStrings
    validation: SpokenStrings
    standardizer: Standardizer


def prepare_listener(speak: Speak, settings: ListenerSettings) -> ListenerData:
    """Has strings of digits spoken, by different voices in training and validation."""
    audio, digits = {}, {}
    parts = {"train": settings.num_strings, "validation": settings.num_validation}
    for seed, (part, count) in enumerate(parts.items()):
        rng = np.random.default_rng(seed)
        digits[part] = [
            tuple(rng.integers(0, 10, rng.integers(1, settings.most + 1)).tolist())
            for _ in range(count)
        ]
        voices = [draw_voice(rng, VARIANTS[part].split()) for _ in range(count)]
        texts = [(spell(row), voice) for row, voice in zip(digits[part], voices, strict=True)]
        audio[part] = speak(texts)
    identity = Standardizer(np.zeros(COEFFICIENTS), np.ones(COEFFICIENTS))
    frames, lengths = pad_cepstra(audio["train"], identity)
    standardizer = fit_standardizer(Utterances(frames, lengths, np.zeros(len(lengths))))
    strings = {
        part: SpokenStrings(*pad_cepstra(audio[part], standardizer), pad_digits(digits[part]))
        for part in parts
    }
    return ListenerData(**strings, standardizer=standardizer)


def draw_voice(rng: np.random.Generator, variants: Sequence[str]) -> Voice:
    """Draws an accent, one of the variants, a speed and a pitch."""
    name = f"{ACCENTS[rng.integers(len(ACCENTS))]}+{variants[rng.integers(len(variants))]}"
    return Voice(name, *(int(rng.integers(low, high + 1)) for low, high in (SPEEDS, PITCHES)))


def pad_cepstra(
    audio: Sequence[np.ndarray], standardizer: Standardizer, multiple: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Standardized cepstra [N, T, 13], zero past the end, and lengths [N]; T is a multiple."""
    rows = [standardizer.standardize(cepstra(sound)) for sound in audio]
    lengths = np.array([len(row) for row in rows], np.int32)
    longest = -(-lengths.max() // multiple) * multiple
    frames = np.zeros((len(rows), longest, COEFFICIENTS), np.float32)
    for padded, row in zip(frames, rows, strict=True):
        padded[: len(row)] = row
    return frames, lengths


def make_listener(settings: ListenerSettings) -> Recognizer:
    """Builds the network."""
    return Recognizer(
        settings.hidden_size, settings.num_layers, True, settings.stride, settings.dropout
    )


def listener_training(settings: ListenerSettings, data: ListenerData) -> training.Training:
    """Builds the training of the listener, with CTC."""
    model = make_listener(settings)

    def loss(params: Any, batch: SpokenStrings, key: Array) -> Array:
        noise_key, dropout_key = jax.random.split(key)
        noise = settings.noise * jax.random.normal(noise_key, batch.frames.shape)
        _, log_probs = model.apply(
            params, batch.frames + noise, batch.lengths, train=True, rngs={"dropout": dropout_key}
        )
        return ctc.ctc_loss(log_probs, batch.lengths // settings.stride, batch.digits).mean()

    def errors(params: Any, strings: SpokenStrings) -> Array:
        _, log_probs = model.apply(params, strings.frames, strings.lengths)
        labels = ctc.decode_greedy(log_probs, strings.lengths // settings.stride).labels
        return edit_distances(strings.digits + 1, labels, ctc.BLANK)

    def evaluate(params: Any) -> dict[str, Array]:
        strings = data.validation
        counts = training.map_batches(lambda batch: errors(params, batch), strings, 100)
        return {"validation_digits_right": 1 - counts.sum() / (strings.digits >= 0).sum()}

    return training.make_standard_training(
        settings,
        init_params=lambda key: model.init(key, jnp.zeros((1, settings.stride, COEFFICIENTS))),
        loss=loss,
        evaluate=evaluate,
        score="validation_digits_right",
        examples=jax.tree.map(jnp.asarray, data.train),
    )


class Listener(NamedTuple):
    """A trained listener."""

    model: Recognizer
    params: Any
    standardizer: Standardizer

    def __call__(self, audio: Sequence[np.ndarray]) -> list[list[int]]:
        """Recognizes the digits in each recording."""
        frames, lengths = pad_cepstra(audio, self.standardizer, PAD_MULTIPLE)
        log_probs = label_log_probs(self.model, self.params, frames, lengths)
        rows = ctc.decode_greedy(log_probs, lengths // self.model.stride).to_lists()
        return [[label - 1 for label in row] for row in rows]


def load_listener(path: Path, command: str) -> Listener:
    """Loads the listener that `command` saved."""
    params, record, _ = load_model(path, command)
    model = make_listener(ListenerSettings(**record["settings"]))
    return Listener(model, params, Standardizer(*map(np.array, record["scale"])))
