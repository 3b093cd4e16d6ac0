"""metrics.jsonl and the scores of classifiers."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from experiments.common.training.metrics import (
    score_classifier,
)


def test_score_classifier_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    labels, predictions = generator.integers(0, 3, (2, 100))
    score = score_classifier(labels, predictions, 3)
    assert float(score.accuracy) == pytest.approx(accuracy_score(labels, predictions))
    assert float(score.macro_f1) == pytest.approx(f1_score(labels, predictions, average="macro"))
    np.testing.assert_array_equal(score.confusion, confusion_matrix(labels, predictions))
