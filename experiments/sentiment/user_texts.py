"""The user's texts and labels: read from a file, split, and classified without a network."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.command import InputError
from experiments.common.data.records import Records, read_records
from experiments.common.data.splits import Split, merge_groups, note_equal, stratified_group_splits
from experiments.common.data.user_files import quote
from experiments.common.report.counts import count
from experiments.common.report.shares import wilson_interval
from experiments.sentiment.baselines import tfidf_logistic_regression
from experiments.sentiment.vader import plain_words

FIELDS = {
    "text": ("sentence", "review", "tweet", "comment", "content"),
    "label": ("class", "category", "sentiment", "rating", "stars"),
}
MIN_TEXTS, MIN_TEXTS_PER_LABEL = 50, 10  # different ones
MAX_LABELS = 50


class LabeledTexts(NamedTuple):
    """N texts in C classes."""

    texts: np.ndarray  # str [N]
    labels: np.ndarray  # int [N], 0 to C - 1
    classes: tuple[str, ...]  # the C labels
    split: Split  # no text is in two parts
    notes: list[str]  # one sentence per thing that the user may not expect
    digest: str  # of the examples


def read_labeled_texts(path: Path, columns: Sequence[str] | None) -> LabeledTexts:
    """Reads a file of texts and labels; one text in five is for testing.

    Raises:
      InputError: it cannot be read, see `read_records`, or a label has too few texts.
    """
    records = read_records(path, FIELDS, columns)
    texts = np.array(records.column(0), object)
    classes, labels = np.unique(records.column(1), return_inverse=True)
    groups = merge_groups([plain_words(text) for text in texts])
    _check_labels(path, records, groups)
    [split, *_] = stratified_group_splits(labels, groups, 5, validation_parts=8, seed=0)
    notes = [*records.notes, *note_equal(groups, "text")]
    return LabeledTexts(texts, labels, tuple(map(str, classes)), split, notes, records.digest())


def _check_labels(path: Path, records: Records, groups: np.ndarray) -> None:
    """Raises InputError unless there are enough different texts per label."""
    different = dict.fromkeys(zip(records.column(1), groups, strict=True))  # in the file's order
    counts = Counter(label for label, _ in different)
    if len(counts) < 2:
        raise InputError(f"{path} has one label, {quote(*counts)}; at least two are needed.")
    rare, fewest = min(counts.items(), key=lambda item: item[1])
    if fewest < MIN_TEXTS_PER_LABEL:
        line = records.lines[records.column(1).index(rare)]
        raise InputError(
            f"{path}: the label {quote(rare)}, in line {line}, has "
            f"{count(fewest, 'text', 'different texts')}; at least "
            f"{MIN_TEXTS_PER_LABEL} are needed for each of the {len(counts)} labels."
        )
    if counts.total() < MIN_TEXTS:
        raise InputError(
            f"{path} has {counts.total()} different texts; at least {MIN_TEXTS} are needed."
        )
    if len(counts) > MAX_LABELS:
        raise InputError(f"{path} has {len(counts)} labels; at most {MAX_LABELS} are supported.")


def predict_baselines(data: LabeledTexts) -> dict[str, np.ndarray]:
    """The predictions of each baseline for the test texts, int [N], from all other texts."""
    known = np.concatenate([data.split.train, data.split.validation])
    texts, labels = data.texts[known], data.labels[known]
    test = data.texts[data.split.test]
    return {
        "majority class": np.full(len(test), np.bincount(labels).argmax()),
        "TF-IDF + logistic regression": tfidf_logistic_regression(texts, labels, test),
    }


def describe_accuracy(name: str, labels: np.ndarray, predictions: np.ndarray) -> str:
    """The accuracy on N test texts with its 95% interval (Wilson)."""
    correct = int((labels == predictions).sum())
    low, high = wilson_interval(correct / len(labels), len(labels))
    return (
        f"{name}: {correct} of {len(labels)} test texts are right, {correct / len(labels):.1%} "
        f"(95% interval {low:.1%} to {high:.1%})."
    )
