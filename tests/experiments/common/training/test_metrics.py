"""metrics.jsonl and the scores of classifiers."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from experiments.common.training.metrics import (
    append_record,
    read_records,
    score_classifier,
    truncate_records,
)


def test_score_classifier_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    labels, predictions = generator.integers(0, 3, (2, 100))
    score = score_classifier(labels, predictions, 3)
    assert float(score.accuracy) == pytest.approx(accuracy_score(labels, predictions))
    assert float(score.macro_f1) == pytest.approx(f1_score(labels, predictions, average="macro"))
    np.testing.assert_array_equal(score.confusion, confusion_matrix(labels, predictions))


def test_records_are_cut_and_survive_an_unfinished_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for epoch in (1, 2, 3):
        append_record(path, {"epoch": epoch, "loss": 1 / 3 / epoch})
    with path.open("a") as file:
        file.write('{"epoch": 4, "lo')
    assert [record["epoch"] for record in read_records(path)] == [1, 2, 3]
    whole = path.read_text()
    truncate_records(path, 2)
    assert path.read_text() == "".join(whole.splitlines(keepends=True)[:2])
