"""Compressors and n-grams as baselines of a language model."""

import random

import numpy as np

from experiments.text_generation.baselines import (
    PRUNED,
    compressors,
    gzip_bits,
    ngrams,
    xz_bits,
)
from experiments.text_generation.prose import Texts


def test_compressors_compared_with_the_entropy():
    text = "".join(random.Random(0).choices("abcdefgh", k=40_000))  # 3 bits each
    assert 3 <= gzip_bits(text) < 3.8
    assert 3 <= xz_bits(text) < 3.8
    assert xz_bits(text, known=text) < 0.05
    assert 3 <= xz_bits(text, known=text[::-1]) < 3.8


def test_the_best_n_is_chosen_on_the_validation_text():
    generator = np.random.default_rng(0)
    # Each symbol repeats the one three steps before, or is random with a probability of 10%.
    symbols = generator.integers(4, size=12_000)
    for t in range(3, len(symbols)):
        symbols[t] = symbols[t] if generator.random() < 0.1 else symbols[t - 3]
    parts = np.split(symbols.astype(np.uint8), [10_000, 11_000])
    texts = Texts(4, *parts)
    rows = ngrams(texts, orders=(2, 3, 4, 5), max_bytes=600)
    assert list(rows) == ["n-grams, n = 2", "n-grams, n = 4", PRUNED]
    assert rows["n-grams, n = 4"]["bits"] < 1 < 1.9 < rows["n-grams, n = 2"]["bits"]
    assert rows[PRUNED]["megabytes"] <= 0.0006 < rows["n-grams, n = 4"]["megabytes"]
    assert rows["n-grams, n = 4"]["bits"] < rows[PRUNED]["bits"]


def test_rows_of_compressors():
    symbols = np.random.default_rng(0).integers(4, size=3000).astype(np.uint8)
    rows = compressors(symbols, symbols, "abcd")
    assert list(rows) == ["gzip", "xz", "xz, after the training text"]
    assert rows["xz, after the training text"]["bits"] < 0.5 < 2 < rows["xz"]["bits"]
