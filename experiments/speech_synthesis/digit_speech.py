"""Strings of digits in words, spoken by a teacher: texts, their split, and arrays to learn from.

No string lies in two parts of the split. All ten single digits are in the training part; the other
parts have strings of two digits or more.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.speech.spoken_digits import Scale
from experiments.speech_synthesis.audio import MELS, log_mel
from experiments.speech_synthesis.espeak import Voice

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ALPHABET = " " + "".join(sorted(set("".join(WORDS))))  # letter i has the number i + 1, 0 is none
Digits = tuple[int, ...]
Speak = Callable[[Sequence[tuple[str, Voice]]], list[np.ndarray]]  # texts -> audio of each


class Texts(NamedTuple):
    """Strings of digits in three parts without a common one."""

    train: list[Digits]
    validation: list[Digits]
    test: list[Digits]


def draw_texts(num_train: int, num_validation: int, num_test: int, most: int) -> Texts:
    """Draws different strings of 2 to `most` digits, their number equally likely while there are
    strings of it left, and puts the single digits before the training part's."""
    rng = np.random.default_rng(0)
    drawn: dict[Digits, None] = {}
    while len(drawn) < num_train + num_validation + num_test:
        drawn[tuple(rng.integers(0, 10, rng.integers(2, most + 1)).tolist())] = None
    # Strings of two digits come early and run out: no part may have them all.
    strings = [list(drawn)[i] for i in rng.permutation(len(drawn))]
    singles: list[Digits] = [(digit,) for digit in range(10)]
    first = num_train + num_validation
    return Texts(singles + strings[:num_train], strings[num_train:first], strings[first:])


def as_text(digits: Digits) -> str:
    """The digits in words."""
    return " ".join(WORDS[digit] for digit in digits)


def to_letters(text: str) -> list[int]:
    """The numbers of a text's letters, after spaces are made single ones and capitals small.

    Raises:
      ValueError: it is empty, or has letters that occur in no digit's name.
    """
    words = text.lower().split()
    unknown = sorted(set("".join(words)) - set(ALPHABET))
    if not words:
        raise ValueError("There is nothing to say: the text is empty.")
    if unknown:
        raise ValueError(
            f"The text has {', '.join(map(repr, unknown))}, but only letters that occur in the "
            f"names of digits are known: {', '.join(ALPHABET.strip())}."
        )
    return [ALPHABET.index(letter) + 1 for letter in " ".join(words)]


class Speech(NamedTuple):
    """N texts and how they are spoken."""

    letters: np.ndarray  # int32 [N, S], 0 past the end
    frames: np.ndarray  # float32 [N, T, M] scaled log mel, silence past the end
    lengths: np.ndarray  # int32 [N], frames


def make_speech(
    texts: Sequence[Digits], audio: Sequence[np.ndarray], scale: Scale, reduction: int
) -> Speech:
    """Arrays of texts [N] and their audio; T is a multiple of `reduction`."""
    letters = [to_letters(as_text(text)) for text in texts]
    mels = [scale.scaled(log_mel(sound)) for sound in audio]
    lengths = np.array([len(frames) for frames in mels], np.int32)
    silence = scale.scaled(log_mel(np.zeros(1)))
    most = -(-lengths.max() // reduction) * reduction
    frames = np.broadcast_to(silence, (len(mels), most, MELS)).astype(np.float32)
    for row, one in zip(frames, mels, strict=True):
        row[: len(one)] = one
    return Speech(pad_letters(letters), frames, lengths)


def pad_letters(letters: Sequence[Sequence[int]], multiple: int = 8) -> np.ndarray:
    """Texts [N] as int32 [N, S], 0 past the end; S is a multiple of `multiple`."""
    longest = max(map(len, letters))
    padded = np.zeros((len(letters), -(-longest // multiple) * multiple), np.int32)
    for row, one in zip(padded, letters, strict=True):
        row[: len(one)] = one
    return padded


def mel_scale(audio: Sequence[np.ndarray]) -> Scale:
    """What makes each mel band's mean 0 and its deviation 1 over all frames."""
    frames = np.concatenate([log_mel(sound) for sound in audio]).astype(np.float64)
    return Scale(frames.mean(0), frames.std(0))
