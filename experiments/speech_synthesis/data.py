"""Spoken texts as training arrays, and strings of digits to be spoken by a teacher.

No string of digits is in two parts of the split. All ten single digits are in the training part;
the other parts have strings of at least two digits.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.common.command import InputError
from experiments.common.data.text import pad
from experiments.speech.recorded_texts import spoken_text
from experiments.speech.spoken_digits import Standardizer
from experiments.speech_synthesis.audio import MELS, log_mel
from experiments.speech_synthesis.espeak import Voice

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ALPHABET = " " + "".join(sorted(set("".join(WORDS))))  # letter i has the id i + 1; 0 is padding
Digits = tuple[int, ...]
Speak = Callable[[Sequence[tuple[str, Voice]]], list[np.ndarray]]  # texts -> audio of each


class DigitSplit(NamedTuple):
    """Strings of digits in three disjoint parts."""

    train: list[Digits]
    validation: list[Digits]
    test: list[Digits]


def draw_digits(num_train: int, num_validation: int, num_test: int, most: int) -> DigitSplit:
    """Draws different strings of 2 to `most` digits and adds single digits to the training part.

    All lengths are equally likely as long as there are strings of that length left. The ten single
    digits come first.
    """
    rng = np.random.default_rng(0)
    drawn: dict[Digits, None] = {}
    while len(drawn) < num_train + num_validation + num_test:
        drawn[tuple(rng.integers(0, 10, rng.integers(2, most + 1)).tolist())] = None
    # Strings of two digits are drawn early and run out. Shuffling spreads them over all parts.
    strings = [list(drawn)[i] for i in rng.permutation(len(drawn))]
    singles: list[Digits] = [(digit,) for digit in range(10)]
    test = num_train + num_validation
    return DigitSplit(singles + strings[:num_train], strings[num_train:test], strings[test:])


def spell(digits: Digits) -> str:
    """The digits in words: "three seven"."""
    return " ".join(WORDS[digit] for digit in digits)


def letter_ids(text: str, alphabet: str) -> list[int]:
    """The ids of a text's letters, without punctuation, see `spoken_text`.

    Raises:
      InputError: the text is empty, or has a letter that is not in the alphabet.
    """
    letters = spoken_text(text)
    unknown = sorted(set(letters) - set(alphabet))
    if not letters:
        raise InputError("There is nothing to say: the text has no letter.")
    if unknown:
        raise InputError(
            f"The text has {', '.join(map(repr, unknown))}, but only the letters that were trained "
            f"are known: {', '.join(alphabet.strip())}."
        )
    return [alphabet.index(letter) + 1 for letter in letters]


class SpokenTexts(NamedTuple):
    """N texts and how the teacher speaks them."""

    letters: np.ndarray  # int32 [N, S], 0 past the end
    frames: np.ndarray  # float32 [N, T, M], standardized log mel; silence past the end
    lengths: np.ndarray  # int32 [N], in frames


class Data(NamedTuple):
    """The data of one training."""

    train: SpokenTexts
    validation: SpokenTexts
    standardizer: Standardizer  # of log mel frames
    alphabet: str


class Recorded(NamedTuple):
    """N texts and the audio of each."""

    texts: Sequence[str]
    audio: Sequence[np.ndarray]


def make_data(train: Recorded, validation: Recorded, alphabet: str, reduction: int) -> Data:
    """Makes the arrays of a training; the frames are standardized by those of `train`."""
    standardizer = fit_standardizer(train.audio)
    parts = (
        make_examples(*part, standardizer, reduction, alphabet) for part in (train, validation)
    )
    return Data(*parts, standardizer, alphabet)


def make_examples(
    texts: Sequence[str],
    audio: Sequence[np.ndarray],
    standardizer: Standardizer,
    reduction: int,
    alphabet: str,
) -> SpokenTexts:
    """Makes arrays of N texts and their audio; T is a multiple of `reduction`."""
    letters = [letter_ids(text, alphabet) for text in texts]
    mels = [standardizer.standardize(log_mel(sound)) for sound in audio]
    lengths = np.array([len(frames) for frames in mels], np.int32)
    silence = standardizer.standardize(log_mel(np.zeros(1)))
    num_frames = -(-lengths.max() // reduction) * reduction
    frames = np.broadcast_to(silence, (len(mels), num_frames, MELS)).astype(np.float32)
    for row, mel in zip(frames, mels, strict=True):
        row[: len(mel)] = mel
    return SpokenTexts(pad_letters(letters), frames, lengths)


def pad_letters(letters: Sequence[Sequence[int]], multiple: int = 8) -> np.ndarray:
    """Pads N texts with 0: int32 [N, S], where S is a multiple of `multiple`."""
    longest = max(map(len, letters))
    return pad(letters, -(-longest // multiple) * multiple)


def pad_digits(strings: Sequence[Digits]) -> np.ndarray:
    """Pads N strings of digits with -1: int32 [N, D]."""
    return pad([[digit + 1 for digit in digits] for digits in strings], max(map(len, strings))) - 1


def fit_standardizer(audio: Sequence[np.ndarray]) -> Standardizer:
    """Measures mean and standard deviation of each mel band over all frames."""
    frames = np.concatenate([log_mel(sound) for sound in audio]).astype(np.float64)
    return Standardizer(frames.mean(0), frames.std(0))
