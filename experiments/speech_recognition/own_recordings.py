"""The user's recordings and their transcripts, as examples for a recognizer."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.data.splits import hold_out, merge_groups, note_equal
from experiments.common.data.text import pad
from experiments.common.report.counts import count
from experiments.speech.recorded_texts import check_number, read_recordings
from experiments.speech.spoken_digits import (
    COEFFICIENTS,
    Standardizer,
    Utterances,
    fit_standardizer,
)
from experiments.speech_recognition.examples import Examples
from experiments.speech_recognition.front_end import RATE, speech_cepstra

SHARE = 0.1  # of the recordings in the validation part, and in the test part
MOST_WORDS, EACH = 100, 4  # up to so many words, spoken so often on average, are labels


class OwnData(NamedTuple):
    """A user's recordings, in three disjoint parts."""

    train: Examples
    validation: Examples
    test: Examples
    names: list[str]  # of the labels: words, or letters
    separator: str  # between labels: a space between words, nothing between letters
    standardizer: Standardizer  # fitted to `train`
    notes: list[str]  # one sentence per thing that the user may not expect
    example: Path  # a recording of the test part

    def spell(self, labels: Sequence[int]) -> str:
        """The text of labels."""
        return self.separator.join(self.names[label] for label in labels)


def read_folder(folder: Path) -> OwnData:
    """Reads, splits and standardizes the recordings of a folder and its subfolders.

    Raises:
      InputError: it holds too few recordings with a transcript, or one that cannot be read.
    """
    read = read_recordings(folder, RATE, speech_cepstra)
    names, separator = _choose_labels(read.texts)
    labels = [[names.index(part) for part in _parts(text, separator)] for text in read.texts]
    fitting = [i for i, row in enumerate(labels) if _fits(row, len(read.sounds[i]))]
    kept, rows = read.select(fitting), [labels[i] for i in fitting]
    groups = merge_groups([cepstra.tobytes() for cepstra in kept.sounds])
    check_number(folder, len(np.unique(groups)))
    notes = [*read.notes, *note_equal(groups, "recording")]
    if too_short := len(labels) - len(rows):
        notes.append(f"Left out: {count(too_short, 'recording')} too short for the text.")
    kind = count(len(names), "word" if separator else "letter")
    notes.append(f"{count(len(rows), 'recording')}, whose texts are read as {kind}.")
    cepstra = kept.sounds
    lengths = np.array([len(frames) for frames in cepstra], np.int32)
    frames = np.zeros((len(cepstra), lengths.max(), COEFFICIENTS), np.float32)
    frames[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(cepstra)
    padded = pad([[label + 1 for label in row] for row in rows], max(map(len, rows))) - 1
    split = hold_out(groups, SHARE)
    whole = Utterances(frames, lengths, padded)
    standardizer = fit_standardizer(whole.select(split.train))
    standardized = Examples(*standardizer.standardize_utterances(whole))
    parts = map(standardized.select, split)
    example = kept.paths[split.test[0]]
    return OwnData(*parts, names, separator, standardizer, notes, example)


def _choose_labels(texts: Sequence[str]) -> tuple[list[str], str]:
    """The names of the labels and their separator: words if they are few and frequent."""
    words = Counter(word for text in texts for word in text.split())
    if len(words) <= MOST_WORDS and words.total() >= EACH * len(words):
        return sorted(words), " "
    return sorted(set("".join(texts))), ""


def _parts(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _fits(labels: Sequence[int], frames: int) -> bool:
    """Whether CTC can spell the labels: a repeated label needs a blank between."""
    repeats = sum(one == other for one, other in pairwise(labels))
    return len(labels) + repeats <= frames
