"""A folder of the user's WAV files with their transcripts, as examples for a recognizer.

The transcripts are in one table with the columns `file` and `text` (CSV, TSV or JSON lines), or
each is in a text file beside its recording, such as take1.txt beside take1.wav.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.command import InputError
from experiments.common.data.records import clean_text, read_records
from experiments.common.data.splits import Split
from experiments.common.data.text import pad
from experiments.common.data.user_files import read_text
from experiments.speech.spoken_digits import (
    COEFFICIENTS,
    Standardizer,
    Utterances,
    fit_standardizer,
)
from experiments.speech_recognition.examples import Examples
from experiments.speech_recognition.front_end import RATE, read_wav, speech_cepstra

FIELDS = {
    "file": ("path", "filename", "file_name", "audio", "wav", "id"),
    "text": ("transcript", "transcription", "sentence", "label", "words"),
}
LEAST = 20  # recordings
LONGEST = 15  # seconds of a recording to train on
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
    texts, notes = _find_transcripts(folder)
    kept, silent, long = [], 0, 0
    for path, text in texts.items():
        audio = read_wav(path)
        cepstra = speech_cepstra(audio)
        if cepstra is None:
            silent += 1
        elif len(audio) > LONGEST * RATE:
            long += 1
        else:
            kept.append((cepstra, text, path))
    for count, what in ((silent, "hold no speech"), (long, f"last more than {LONGEST} seconds")):
        if count:
            notes.append(f"{count} recordings {what} and are left out.")
    names, separator = _choose_labels([text for _, text, _ in kept])
    rows = [[names.index(part) for part in _parts(text, separator)] for _, text, _ in kept]
    spoken = [i for i, (cepstra, *_) in enumerate(kept) if _fits(rows[i], len(cepstra))]
    if len(spoken) < len(kept):
        notes.append(f"{len(kept) - len(spoken)} recordings are too short for their text.")
    if len(spoken) < LEAST:
        raise InputError(
            f"{folder} has {len(spoken)} usable recordings with a transcript; at least {LEAST} are "
            "needed, and a few hundred to learn well."
        )
    kind = f"{len(names)} {'words' if separator else 'letters'}"
    notes.append(f"{len(spoken)} recordings, whose texts are read as {kind}.")
    cepstra, paths = ([kept[i][field] for i in spoken] for field in (0, 2))
    return _split(cepstra, [rows[i] for i in spoken], names, separator, notes, paths)


def _find_transcripts(folder: Path) -> tuple[dict[Path, str], list[str]]:
    """The transcript of each recording that has one, and notes on those that have none."""
    if not folder.is_dir():
        raise InputError(f"`--train` is {folder}; a folder of WAV files is expected.")
    wavs = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() == ".wav"]
    if not wavs:
        raise InputError(f"{folder} holds no .wav file.")
    tables = [p for p in sorted(folder.iterdir()) if p.suffix in (".csv", ".tsv", ".jsonl")]
    if len(tables) > 1:
        raise InputError(f"{folder} holds {len(tables)} tables; one table of transcripts is read.")
    notes = []
    if tables:
        records = read_records(tables[0], FIELDS)
        notes += records.notes
        places = {path.relative_to(folder).as_posix(): path for path in wavs}
        places |= {name.rsplit(".", 1)[0]: path for name, path in places.items()}
        unknown = [name for name, _ in records.rows if name not in places]
        if unknown:
            raise InputError(
                f"{tables[0]} names {unknown[0]!r}, which is no .wav file in {folder}."
            )
        texts = {places[name]: text for name, text in records.rows}
    else:
        beside = {path: path.with_suffix(".txt") for path in wavs}
        texts = {p: clean_text(read_text(t)) for p, t in beside.items() if t.is_file()}
    texts = {path: _spoken(text) for path, text in texts.items() if _spoken(text)}
    if len(texts) < len(wavs):
        notes.append(f"{len(wavs) - len(texts)} recordings have no transcript and are left out.")
    return texts, notes


def _spoken(text: str) -> str:
    """The text in lower case, without punctuation."""
    kept = (c if c.isalnum() or c == "'" else " " for c in text.casefold().replace("’", "'"))
    return " ".join("".join(kept).split())


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


def _split(
    cepstra: list[np.ndarray],
    rows: list[list[int]],
    names: list[str],
    separator: str,
    notes: list[str],
    paths: list[Path],
) -> OwnData:
    lengths = np.array([len(frames) for frames in cepstra], np.int32)
    frames = np.zeros((len(cepstra), lengths.max(), COEFFICIENTS), np.float32)
    frames[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(cepstra)
    labels = pad([[label + 1 for label in row] for row in rows], max(map(len, rows))) - 1
    order = np.random.default_rng(0).permutation(len(rows))
    held = max(round(SHARE * len(rows)), 2)
    parts = Split(order[2 * held :], order[:held], order[held : 2 * held])
    whole = Utterances(frames, lengths, labels)
    standardizer = fit_standardizer(whole.select(parts.train))
    standardized = Examples(*standardizer.standardize_utterances(whole))
    texts = (names, separator, standardizer, notes)
    return OwnData(*map(standardized.select, parts), *texts, paths[parts.test[0]])
