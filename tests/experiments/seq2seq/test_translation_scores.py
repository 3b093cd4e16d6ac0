"""Baselines and scores of translations."""

import pytest

from experiments.seq2seq.translation_scores import (
    score_translations,
    translation_memory,
    word_dictionary,
)


def test_baselines_and_scores():
    sources = ["red tool", "red car", "blue car"] * 3
    targets = ["strumento rosso", "auto rossa", "auto blu"] * 3
    assert translation_memory(sources, targets, ["a red tool", "zzz"]) == [targets[0], targets[0]]
    assert word_dictionary(sources, targets, ["blue Car X"]) == ["blu auto X"]
    assert word_dictionary(["a", "b"], ["c", "d"], ["a x"]) == ["a x"]
    scores = score_translations(targets, targets)
    assert scores["exact"] == 100
    assert scores["chrF"] == pytest.approx(100)
