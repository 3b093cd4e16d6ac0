"""Who listens to a synthesiser: a recogniser of digits that never heard its voice.

It learns from other voices of the same teacher, at many speeds and pitches, and is judged on
voices that it has not learned from. What it hears are cepstra of audio, with noise in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import training
from experiments.common.training.models import load_model
from experiments.speech import ctc
from experiments.speech.recognizer import Recogniser, hear
from experiments.speech.scores import edit_distances
from experiments.speech.spoken_digits import COEFFICIENTS, Scale, Utterances, measure_scale
from experiments.speech_synthesis.audio import cepstra
from experiments.speech_synthesis.digit_speech import Digits, Speak, as_text
from experiments.speech_synthesis.espeak import Voice

ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029")
VARIANTS = {  # of espeak-ng, without those that whisper or sound like a robot
    "train": "f1 f2 f4 m1 m2 m4 m5 m7 m8 Alex Andy Annie Gene Hugo Lee Marco Mario adam anika "
    "announcer belinda david ed grandma klatt2 linda max rob steph",
    "validation": "f3 f5 m3 m6 Denis Michael paul quincy robert",
}
PADDED = 128  # frames, so that few lengths are compiled
SPEEDS, PITCHES = (130, 220), (25, 75)  # words a minute; 0 to 99


@dataclass(frozen=True)
class ListenerSettings:
    """What determines a trained listener."""

    num_strings: int = 1200
    num_validation: int = 200
    most: int = 6  # digits of a string, from 1
    hidden_size: int = 96  # in each direction
    num_layers: int = 2
    stride: int = 3  # frames that make one step
    dropout: float = 0.3
    noise: float = 0.4  # deviation of what is added in training, in units of each coefficient's
    batch_size: int = 32
    epochs: int = 10
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0


class Strings(NamedTuple):
    """B spoken strings of at most D digits."""

    frames: np.ndarray  # float32 [B, T, 13] scaled cepstra, zero past the end
    lengths: np.ndarray  # int32 [B]
    digits: np.ndarray  # int32 [B, D], -1 past the last


class ListenerData(NamedTuple):
    """What one training needs, and the scale of the cepstra."""

    train: Strings
    validation: Strings
    scale: Scale


def prepare_listener(speak: Speak, settings: ListenerSettings) -> ListenerData:
    """Has strings of digits spoken in voices that are others in training and validation."""
    audio, digits = {}, {}
    parts = {"train": settings.num_strings, "validation": settings.num_validation}
    for seed, (part, count) in enumerate(parts.items()):
        rng = np.random.default_rng(seed)
        digits[part] = [
            tuple(rng.integers(0, 10, rng.integers(1, settings.most + 1)).tolist())
            for _ in range(count)
        ]
        voices = [draw_voice(rng, VARIANTS[part].split()) for _ in range(count)]
        texts = [(as_text(one), voice) for one, voice in zip(digits[part], voices, strict=True)]
        audio[part] = speak(texts)
    unscaled = Scale(np.zeros(COEFFICIENTS), np.ones(COEFFICIENTS))
    frames, lengths = as_frames(audio["train"], unscaled)
    scale = measure_scale(Utterances(frames, lengths, np.zeros(len(lengths))))
    strings = {
        part: Strings(*as_frames(audio[part], scale), pad_digits(digits[part])) for part in parts
    }
    return ListenerData(**strings, scale=scale)


def draw_voice(rng: np.random.Generator, variants: Sequence[str]) -> Voice:
    """Any accent with any of the variants, at any speed and pitch."""
    name = f"{ACCENTS[rng.integers(len(ACCENTS))]}+{variants[rng.integers(len(variants))]}"
    return Voice(name, *(int(rng.integers(low, high + 1)) for low, high in (SPEEDS, PITCHES)))


def as_frames(
    audio: Sequence[np.ndarray], scale: Scale, multiple: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Scaled cepstra [N, T, 13], zero past the end, and lengths [N], of audio; T is a multiple."""
    rows = [scale.scaled(cepstra(sound)) for sound in audio]
    lengths = np.array([len(row) for row in rows], np.int32)
    longest = -(-lengths.max() // multiple) * multiple
    frames = np.zeros((len(rows), longest, COEFFICIENTS), np.float32)
    for padded, row in zip(frames, rows, strict=True):
        padded[: len(row)] = row
    return frames, lengths


def pad_digits(strings: Sequence[Digits]) -> np.ndarray:
    """Strings [N] as int32 [N, D], -1 past the last digit."""
    padded = np.full((len(strings), max(map(len, strings))), -1, np.int32)
    for row, digits in zip(padded, strings, strict=True):
        row[: len(digits)] = digits
    return padded


def make_listener(settings: ListenerSettings) -> Recogniser:
    """The network of these settings."""
    return Recogniser(
        settings.hidden_size, settings.num_layers, True, settings.stride, settings.dropout
    )


def listener_training(settings: ListenerSettings, data: ListenerData) -> training.Training:
    """Builds the training of the listener, with CTC."""
    model = make_listener(settings)

    def loss(params: Any, batch: Strings, key: Array) -> Array:
        noise_key, dropout_key = jax.random.split(key)
        noise = settings.noise * jax.random.normal(noise_key, batch.frames.shape)
        _, log_probs = model.apply(
            params, batch.frames + noise, batch.lengths, train=True, rngs={"dropout": dropout_key}
        )
        return ctc.ctc_loss(log_probs, batch.lengths // settings.stride, batch.digits).mean()

    def errors(params: Any, strings: Strings) -> Array:
        _, log_probs = model.apply(params, strings.frames, strings.lengths)
        heard = ctc.greedy(log_probs, strings.lengths // settings.stride).labels
        return edit_distances(strings.digits + 1, heard, ctc.BLANK)

    def evaluate(params: Any) -> dict[str, Array]:
        strings = data.validation
        wrong = training.map_batches(lambda part: errors(params, part), strings, 100)
        return {"validation_digits_right": 1 - wrong.sum() / (strings.digits >= 0).sum()}

    return training.make_usual_training(
        settings,
        init_params=lambda key: model.init(key, jnp.zeros((1, settings.stride, COEFFICIENTS))),
        loss=loss,
        evaluate=evaluate,
        score="validation_digits_right",
        examples=jax.tree.map(jnp.asarray, data.train),
    )


class Listener(NamedTuple):
    """A trained listener."""

    model: Recogniser
    params: Any
    scale: Scale

    def __call__(self, audio: Sequence[np.ndarray]) -> list[list[int]]:
        """The digits it hears in each."""
        frames, lengths = as_frames(audio, self.scale, PADDED)
        log_probs = hear(self.model, self.params, frames, lengths)
        rows = ctc.greedy(log_probs, lengths // self.model.stride).rows()
        return [[label - 1 for label in row] for row in rows]


def load_listener(path: Path, command: str) -> Listener:
    """Loads the saved listener, which `command` makes."""
    params, record, _ = load_model(path, command)
    model = make_listener(ListenerSettings(**record["settings"]))
    return Listener(model, params, Scale(*map(np.array, record["scale"])))
