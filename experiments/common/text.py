"""Text: a tokenizer for informal English, word forms, a vocabulary, subwords and padding."""

import html
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

PADDING, UNKNOWN = 0, 1  # the first two ids of every vocabulary

_TOKEN = re.compile(
    r"https?://\S+"  # addresses
    r"|[@#]?\w+(?:['’]\w+)*"  # words with their apostrophes: don't, @user, #fail
    r"|[:;=8][-o*']?[)\](\[dDpP/\\|@3<>]+|<3+"  # emoticons
    r"|\.{2,}|[!?]+"  # runs that carry emphasis
    r"|[^\w\s]"  # any other single character
)


def tokenize(text: str) -> list[str]:
    """Splits a text into words, emoticons and punctuation, keeping case. Never empty."""
    return _TOKEN.findall(html.unescape(text)) or ["."]


def word_form(token: str) -> str:
    """Returns the form under which a token is looked up: lower case, "sooo" as "soo".

    Addresses, user names and numbers become the placeholders <url>, <user> and <number>.
    """
    if token.startswith("http"):
        return "<url>"
    if token[0] == "@" and len(token) > 1:
        return "<user>"
    if token.isdigit():
        return "<number>"
    return re.sub(r"(.)\1{2,}", r"\1\1", token.lower().replace("’", "'"))


def build_vocabulary(sentences: Iterable[Sequence[str]], min_count: int = 1) -> dict[str, int]:
    """Maps every word seen at least `min_count` times to an id from 2 on, most frequent first."""
    counts = Counter(word for sentence in sentences for word in sentence)
    kept = sorted(
        (word for word, count in counts.items() if count >= min_count),
        key=lambda word: (-counts[word], word),
    )
    return {word: number for number, word in enumerate(kept, start=UNKNOWN + 1)}


def hash_id(string: str, buckets: int) -> int:
    """Maps a string to 1 .. `buckets`; the same in every process, unlike `hash`."""
    return zlib.crc32(string.encode()) % buckets + 1


def subword_ids(word: str, buckets: int, limit: int = 16) -> np.ndarray:
    """Hashes a word's character 3-, 4- and 5-grams, as fastText does (Bojanowski et al. 2017).

    Returns: int32 [limit], ids from 1 to `buckets`, padded with 0.
    """
    marked = f"<{word}>"
    grams = [marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)]
    grams = [word] if word.startswith("<") and word.endswith(">") else grams or [marked]
    return pad([[hash_id(gram, buckets) for gram in grams]], limit)[0]


def pad(rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Cuts or fills each row with `PADDING`. Returns: int32 [len(rows), length]."""
    padded = np.full((len(rows), length), PADDING, np.int32)
    for i, row in enumerate(rows):
        padded[i, : min(len(row), length)] = row[:length]
    return padded
