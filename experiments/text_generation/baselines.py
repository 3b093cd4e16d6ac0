"""Language models without a neural network: compressors and n-grams.

The bits of a compressor are the size of its output. A model that assigns the probabilities p to a
text's characters could compress it to −Σ log2 p bits, so the two are comparable.
"""

import gzip
import lzma
from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from experiments.text_generation import ngram
from experiments.text_generation.prose import Texts, decode

PRUNED = "n-grams, pruned to the network's size"


def gzip_bits(text: str) -> float:
    """Bits per character of `text` under gzip -9."""
    return 8 * len(gzip.compress(text.encode(), 9)) / len(text)


def xz_bits(text: str, known: str = "") -> float:
    """Bits per character of `text` under xz -9e, given the `known` text before it.

    This is the growth of the compressed file when `text` is appended to `known`. The dictionary of
    64 MiB holds both.
    """
    before, after = (
        len(lzma.compress(content.encode(), preset=9 | lzma.PRESET_EXTREME))
        for content in (known, known + text)
    )
    return 8 * (after - before) / len(text)


def compressors(train: np.ndarray, test: np.ndarray, alphabet: str) -> dict[str, dict[str, float]]:
    """The "bits" per character of the test text under compressors.

    Args:
      train, test: uint8 [N] and [K], character ids.
      alphabet: the V characters.
    """
    text, known = decode(test, alphabet), decode(train, alphabet)
    return {
        "gzip": {"bits": gzip_bits(text)},
        "xz": {"bits": xz_bits(text)},
        "xz, after the training text": {"bits": xz_bits(text, known)},
    }


def ngrams(texts: Texts, orders: Sequence[int], max_bytes: int) -> dict[str, dict[str, float]]:
    """The bits per character of n-gram models of the training text.

    Args:
      texts: the training, validation and test text.
      orders: values of n. The first one and the best one on the validation text get a row each.
      max_bytes: the memory of one more row: of the pruned model that is best on the validation
        text.

    Returns: for each row "n", the "bits" of the test text, the "validation bits" and the
      "megabytes".
    """
    models = {n: ngram.fit(texts.train, texts.num_symbols, n) for n in orders}
    pruned = {n: ngram.prune_to_size(model, max_bytes) for n, model in models.items()}
    rows = {n: _ngram_row(n, model, texts) for n, model in models.items()}
    small = [_ngram_row(n, model, texts) for n, model in pruned.items()]
    best = min(rows, key=lambda n: rows[n]["validation bits"])
    return {f"n-grams, n = {n}": rows[n] for n in sorted({orders[0], best})} | {
        PRUNED: min(small, key=itemgetter("validation bits"))
    }


def _ngram_row(n: int, model: ngram.NGramModel, texts: Texts) -> dict[str, float]:
    return {
        "n": n,
        "bits": float(ngram.bits(model, texts.test).mean()),
        "validation bits": float(ngram.bits(model, texts.validation).mean()),
        "megabytes": model.num_bytes() / 1e6,
    }
