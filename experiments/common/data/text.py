"""Text: a tokenizer for informal English, word forms, a vocabulary, subwords and padding."""

import html
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

PADDING, UNKNOWN = 0, 1  # the first two ids of every vocabulary
NUM_SUBWORDS = 6

_EMOTICON = r"[:;=8][-o*']?[)\](\[dDpP/\\|@3<>]+|<3+"
_TOKEN = re.compile(
    r"https?://\S+"  # addresses
    r"|[@#]?\w+(?:['’]\w+)*"  # words with their apostrophes: don't, @user, #fail
    rf"|{_EMOTICON}"
    r"|\.{2,}|[!?]+"  # runs that carry emphasis
    r"|[^\w\s]"  # any other single character
)


def tokenize(text: str) -> list[str]:
    """Splits a text into words, emoticons and punctuation, keeping case. Never empty."""
    return _TOKEN.findall(html.unescape(text)) or ["."]


def has_meaning(token: str) -> bool:
    """Whether a token is a word or an emoticon: no number, sign, address or user name."""
    if token.startswith(("http", "@")):
        return False
    return any(map(str.isalpha, token)) or bool(re.fullmatch(_EMOTICON, token))


def word_form(token: str) -> str:
    """Normalizes a token for the vocabulary: lower case, "sooo" as "soo".

    Addresses, user names and numbers become the placeholders <url>, <user> and <number>.
    """
    if token.startswith("http"):
        return "<url>"
    if token[0] == "@" and len(token) > 1:
        return "<user>"
    if token.isdigit():
        return "<number>"
    return re.sub(r"(.)\1{2,}", r"\1\1", token.lower().replace("’", "'"))


def word_forms(text: str) -> list[str]:
    """Returns the forms of all tokens of a text."""
    return [word_form(token) for token in tokenize(text)]


def build_vocabulary(sentences: Iterable[Sequence[str]], min_count: int = 1) -> list[str]:
    """Returns every word seen at least `min_count` times, most frequent first.

    The word at position i has the id i + 2: `PADDING` and `UNKNOWN` come before.
    """
    counts = Counter(word for sentence in sentences for word in sentence)
    kept = [word for word, count in counts.items() if count >= min_count]
    return sorted(kept, key=lambda word: (-counts[word], word))


def hash_id(string: str, buckets: int) -> int:
    """Maps a string to 1 .. `buckets`; the same in every process, unlike `hash`."""
    return zlib.crc32(string.encode()) % buckets + 1


def subword_ids(word: str, buckets: int) -> list[int]:
    """Hashes the prefixes and suffixes of a word, which unseen words share with seen ones.

    These are its first 3, 4, 5 and 6 letters and its last 3 and 4: a fast subset of fastText's
    character n-grams (Bojanowski et al. 2017).

    Returns: `NUM_SUBWORDS` ids from 1 to `buckets`, padded with `PADDING`.
    """
    starts = [f"{word[:n]}-" for n in (3, 4, 5, 6) if len(word) >= n - 1]
    ends = [f"-{word[-n:]}" for n in (3, 4) if len(word) >= n]
    ids = [hash_id(part, buckets) for part in starts + ends] or [hash_id(word, buckets)]
    return ids + [PADDING] * (NUM_SUBWORDS - len(ids))


def pad(rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Truncates each row, or fills it with `PADDING`. Returns: int32 [len(rows), length]."""
    padded = np.full((len(rows), length), PADDING, np.int32)
    for i, row in enumerate(rows):
        padded[i, : min(len(row), length)] = row[:length]
    return padded


def encode_words(
    sentences: Sequence[Sequence[str]], vocabulary: Sequence[str], length: int, buckets: int
) -> dict[str, np.ndarray]:
    """Converts N tokenized sentences to arrays, truncated to T = `length`.

    Returns:
      words: int32 [N, T], ids of the normalized tokens; `PADDING` past the end.
      subwords: int32 [N, T, NUM_SUBWORDS], see `subword_ids`.
      case: float32 [N, T, 2]: whether the token is all capitals; whether it begins with one.
      lengths: int32 [N].
    """
    ids = {word: number for number, word in enumerate(vocabulary, start=UNKNOWN + 1)}
    forms = [[word_form(token) for token in tokens[:length]] for tokens in sentences]
    known = {form: subword_ids(form, buckets) for tokens in forms for form in tokens}
    subwords = np.zeros((len(sentences), length, NUM_SUBWORDS), np.int32)
    case = np.zeros((len(sentences), length, 2), np.float32)
    for i, tokens in enumerate(sentences):
        for t, token in enumerate(tokens[:length]):
            subwords[i, t] = known[forms[i][t]]
            case[i, t] = token.isupper() and len(token) > 1, token[0].isupper()
    return {
        "words": pad([[ids.get(form, UNKNOWN) for form in row] for row in forms], length),
        "subwords": subwords,
        "case": case,
        "lengths": np.array([len(row) for row in forms], np.int32),
    }
