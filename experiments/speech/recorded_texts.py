"""A folder of the user's WAV files with their transcripts.

The transcripts are in one table with the columns `file` and `text` (CSV, TSV or JSON lines), or
each is in a text file beside its recording, such as take1.txt beside take1.wav.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from experiments.common.command import InputError
from experiments.common.data.records import clean_text, read_records
from experiments.common.data.user_files import read_text
from experiments.common.report.counts import count
from experiments.speech.wav_files import read_wav

FIELDS = {
    "file": ("path", "filename", "file_name", "audio", "wav", "id"),
    "text": ("transcript", "transcription", "sentence", "label", "words"),
}
LEAST = 20  # recordings
LONGEST = 15  # seconds of a recording to train on

T = TypeVar("T")


class Recordings(NamedTuple, Generic[T]):
    """N recordings with their texts."""

    paths: list[Path]
    texts: list[str]  # in lower case, without punctuation
    sounds: list[T]  # what `read_folder` makes of the audio
    notes: list[str]  # one sentence per thing that the user may not expect

    def select(self, indices: "np.ndarray | list[int]") -> "Recordings[T]":
        """The recordings at these indices."""
        columns = ([column[i] for i in indices] for column in self[:3])
        return Recordings(*columns, self.notes)


def read_recordings(
    folder: Path, rate: int, convert: Callable[[np.ndarray], T | None]
) -> Recordings[T]:
    """Reads the recordings that have a transcript, in a folder and its subfolders.

    Args:
      folder: the folder.
      rate: the samples per second to resample to.
      convert: makes of audio [N] what is kept of it; None if there is no speech.

    Raises:
      InputError: there is no such folder, it holds no recording, or one that cannot be read.
    """
    texts, notes = _find_transcripts(folder)
    kept = Recordings[T]([], [], [], notes)
    silent = long = 0
    for path, text in texts.items():
        audio = read_wav(path, rate)
        sound = convert(audio)
        if sound is None:
            silent += 1
        elif len(audio) > LONGEST * rate:
            long += 1
        else:
            for column, value in zip(kept[:3], (path, text, sound), strict=True):
                column.append(value)
    for number, what in ((silent, "without speech"), (long, f"of more than {LONGEST} seconds")):
        if number:
            notes.append(f"Left out: {count(number, 'recording')} {what}.")
    return kept


def check_number(folder: Path, number: int) -> None:
    """Raises InputError if there are too few different recordings."""
    if number < LEAST:
        raise InputError(
            f"{folder} has {count(number, 'usable recording')} with a transcript, where equal ones "
            f"count once; at least {LEAST} are needed, and a few hundred to learn well."
        )


def spoken_text(text: str) -> str:
    """The text in lower case, without punctuation."""
    kept = (c if c.isalnum() or c == "'" else " " for c in text.casefold().replace("’", "'"))
    return " ".join("".join(kept).split())


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
    texts = {path: spoken_text(text) for path, text in texts.items() if spoken_text(text)}
    if missing := len(wavs) - len(texts):
        notes.append(f"Left out: {count(missing, 'recording')} without a transcript.")
    return texts, notes
