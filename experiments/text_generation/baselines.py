"""Language models without a neural network: compressors and n-grams.

The bits of a compressor are the size of its output. A model that assigns the probabilities p to a
text's characters could compress it to −Σ log2 p bits, so the two are comparable.
"""

import gzip
import lzma
from collections.abc import Sequence

import numpy as np

from experiments.text_generation import ngram
from experiments.text_generation.prose import decode


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


def baselines(
    train: np.ndarray,
    validation: np.ndarray,
    test: np.ndarray,
    alphabet: str,
    orders: Sequence[int],
) -> dict[str, dict[str, float]]:
    """The bits per character of compressors, and of n-gram models of the training text.

    Args:
      train, validation, test: uint8 [N], [M] and [K], character ids.
      alphabet: the V characters.
      orders: values of n. The first one and the best one on the validation text get a row each.

    Returns: for each row the "bits" of the test text, and for n-grams the "validation bits".
    """
    text, known = decode(test, alphabet), decode(train, alphabet)
    rows = {
        "gzip": {"bits": gzip_bits(text)},
        "xz": {"bits": xz_bits(text)},
        "xz, after the training text": {"bits": xz_bits(text, known)},
    }
    models = {order: ngram.fit(train, len(alphabet), order) for order in orders}
    validated = {order: ngram.bits(model, validation).mean() for order, model in models.items()}
    for order in sorted({orders[0], min(orders, key=validated.__getitem__)}):
        rows[f"n-grams, n = {order}"] = {
            "bits": float(ngram.bits(models[order], test).mean()),
            "validation bits": float(validated[order]),
        }
    return rows
