"""The user's own text: a plain text file, whose end is held out."""

import hashlib
import unicodedata
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.command import InputError
from experiments.common.data.splits import Split
from experiments.common.data.user_files import read_text
from experiments.common.report.counts import count
from experiments.text_generation.prose import Corpus, encode

MIN_CHARACTERS = 20_000
MAX_SYMBOLS = 256  # of the alphabet: ids are uint8
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_REPLACED = 0.01  # of all characters
PARTS = (0.9, 0.05, 0.05)  # training, validation and test


class UserText(NamedTuple):
    """A text, cut into three pieces."""

    corpus: Corpus
    notes: list[str]  # one sentence per thing that the user may not expect
    digest: str  # the sha256 of the text


def read_user_text(path: Path) -> UserText:
    """Reads a text: its first 90% are for training, then 5% for validation and 5% for testing.

    Line ends become "\\n", and characters Unicode's composed form (NFC). If there are more than
    `MAX_SYMBOLS` different characters, the rarest become `REPLACEMENT`.

    Raises:
      InputError: it is too short, has too many different characters, or is no text.
    """
    text = "\n".join(read_text(path).splitlines()).strip() + "\n"
    text = unicodedata.normalize("NFC", text)
    if len(text) < MIN_CHARACTERS:
        number = count(len(text.rstrip()), "character")
        raise InputError(f"{path} has {number}; at least {MIN_CHARACTERS:,} are needed.")
    counts = Counter(text).most_common()
    rare = [] if len(counts) <= MAX_SYMBOLS else counts[MAX_SYMBOLS - 1 :]
    replaced = sum(count for _, count in rare)
    if replaced > MAX_REPLACED * len(text):
        raise InputError(
            f"{path} has {len(counts):,} different characters; the {MAX_SYMBOLS - 1} most frequent "
            f"must make up at least {1 - MAX_REPLACED:.0%} of the text, as in an alphabetic script."
        )
    text = text.translate({ord(character): REPLACEMENT for character, _ in rare})
    alphabet = "".join(sorted(set(text)))
    ends = np.cumsum([int(part * len(text)) for part in PARTS[:-1]])
    pieces = np.split(encode(text, alphabet), ends)
    sizes = [f"{len(piece):,}" for piece in pieces]
    notes = [
        f"{path} has {len(text):,} characters, {len(alphabet)} different ones: the first "
        f"{sizes[0]} are for training, then {sizes[1]} for validation, and the last {sizes[2]} "
        "for testing."
    ]
    if rare:
        notes.append(
            f"The {len(rare)} rarest characters, {replaced / len(text):.2%} of the text, are "
            f"replaced by {REPLACEMENT}."
        )
    split = Split(*np.arange(3)[:, None])
    titles = ["the beginning", "the part before the end", "the end of the text"]
    digest = hashlib.sha256(text.encode()).hexdigest()
    return UserText(Corpus(alphabet, titles, pieces, split), notes, digest)
