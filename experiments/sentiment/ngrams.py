"""Word pairs and character n-grams of a text, hashed: the inputs of the classifier's linear branch.

They need no vocabulary: each n-gram has the bucket of its checksum, and an unseen one has a bucket
whose weights other n-grams have learned, or that are still zero.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np

from experiments.common.data.text import PADDING, hash_id, word_form

LENGTHS = (2, 3, 4, 5)  # of the character n-grams, within a word and the spaces around it
PER_TOKEN = 16  # n-grams, on average: what a text has beyond that many is left out


def encode_ngrams(
    sentences: Iterable[Sequence[str]], length: int, buckets: int
) -> dict[str, np.ndarray]:
    """Hashes the n-grams of the first `length` tokens of N sentences.

    Returns:
      ngrams: int32 [N, M], M = `PER_TOKEN` * `length`: ids from 1 to 2 * `buckets`, words and
        pairs in the first half; `PADDING` past the end.
      ngram_weights: float32 [N, M], 1 + log(count), scaled to a norm of 1 among words and pairs,
        and among character n-grams; 0 past the end.
    """
    rows = [_row(tuple(tokens[:length]), buckets) for tokens in sentences]
    ids = np.full((len(rows), PER_TOKEN * length), PADDING, np.int32)
    weights = np.zeros(ids.shape, np.float32)
    for i, (row_ids, row_weights) in enumerate(rows):
        end = min(len(row_ids), ids.shape[1])
        ids[i, :end], weights[i, :end] = row_ids[:end], row_weights[:end]
    return {"ngrams": ids, "ngram_weights": weights}


def _row(tokens: Sequence[str], buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """The ids and the weights of one sentence."""
    forms = [word_form(token) for token in tokens]
    words = [f"{first} {second}" for first, second in pairwise(["", *forms])]
    words = [hash_id(word, buckets) for word in [*forms, *words[1:]]]
    parts = [buckets + number for form in forms for number in _character_ids(form, buckets)]
    counts = [Counter(words), Counter(parts)]
    weights = [1 + np.log(np.fromiter(kind.values(), np.float32, len(kind))) for kind in counts]
    norms = [np.maximum(np.linalg.norm(kind), 1) for kind in weights]
    ids = np.array([number for kind in counts for number in kind], np.int32)
    return ids, np.concatenate([w / norm for w, norm in zip(weights, norms, strict=True)])


@cache
def _character_ids(form: str, buckets: int) -> list[int]:
    """The ids of the character n-grams of a word and the spaces around it."""
    padded = f" {form} "
    starts = ((n, i) for n in LENGTHS for i in range(len(padded) - n + 1))
    return [hash_id(padded[i : i + n], buckets) for n, i in starts]
