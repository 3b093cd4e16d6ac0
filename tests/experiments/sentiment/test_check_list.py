"""The check list of negations, contrasts and idioms."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from experiments.common import data
from experiments.sentiment import vader
from experiments.sentiment.check_list import CHECKS, LABELS, TEXTS, score_checks


def test_forty_different_checks_of_balanced_kinds_and_classes():
    assert len(CHECKS) == len({vader.plain_words(check.text) for check in CHECKS}) == 40
    kinds = Counter(check.kind for check in CHECKS)
    assert set(kinds) == {"negation", "contrast", "idiom"}
    assert min(kinds.values()) >= 13
    classes = Counter(check.label for check in CHECKS)
    assert set(classes) == set(vader.CLASSES)
    assert min(classes.values()) >= 10
    assert len({(check.kind, check.label) for check in CHECKS}) == 9


def test_no_check_is_a_sentence_of_the_archive():
    folder = Path(os.environ.get("GRUJAX_DATA") or data.cache_directory())
    if not (folder / vader.ARCHIVE.filename).exists():
        pytest.skip(f"{vader.ARCHIVE.filename} has not been fetched; the demo does it")
    known = set(map(vader.plain_words, vader.read_sentences().texts))
    assert not known & {vader.plain_words(check.text) for check in CHECKS}


def test_the_score_names_what_is_wrong():
    assert score_checks([LABELS]) == {"check list": 1.0, "check list, share wrong": {}}
    one_wrong = np.where(np.arange(40) == 3, (LABELS + 1) % 3, LABELS)
    score = score_checks([LABELS, one_wrong])
    assert score["check list"] == pytest.approx(79 / 80)
    assert score["check list, share wrong"] == {TEXTS[3]: 0.5}
