"""Compressors and n-grams as baselines of a language model."""

import random

import numpy as np

from experiments.text_generation.baselines import baselines, gzip_bits, xz_bits


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
    rows = baselines(*parts, "abcd", orders=(2, 3, 4, 5))
    assert list(rows) == [
        "gzip",
        "xz",
        "xz, after the training text",
        "n-grams, n = 2",
        "n-grams, n = 4",
    ]
    assert rows["n-grams, n = 4"]["bits"] < 1 < 1.9 < rows["n-grams, n = 2"]["bits"]
    assert "validation bits" not in rows["xz"]
