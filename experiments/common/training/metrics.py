"""Metrics: the metrics.jsonl of a run, and the scores of a classifier.

metrics.jsonl holds one JSON object per epoch with reproducible values only. Wall times are kept
elsewhere, so two runs of the same training can be compared byte by byte.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from experiments.common.files import write_atomically


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Appends one line to a metrics.jsonl. Floats survive the round trip exactly."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_records(path: Path) -> list[dict[str, Any]]:
    """Reads a metrics.jsonl, without a last line that a killed process left unfinished."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def truncate_records(path: Path, num_records: int) -> None:
    """Keeps the first `num_records` lines, so that the file matches a restored checkpoint."""
    records = read_records(path)[:num_records]
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in records).encode())


class ClassifierScore(NamedTuple):
    """The scores of a classifier on N examples of C classes."""

    accuracy: Array  # [] fraction of correct predictions
    macro_f1: Array  # [] F1, the unweighted mean over the classes
    confusion: Array  # [C, C] counts; rows are the true class, columns the predicted class


def score_classifier(
    labels: ArrayLike, predictions: ArrayLike, num_classes: int
) -> ClassifierScore:
    """Scores integer `predictions` [N] against `labels` [N].

    Works under `jax.jit`. A class that neither occurs nor is predicted has an F1 of 0.
    """
    confusion = jnp.zeros((num_classes, num_classes), int)
    confusion = confusion.at[jnp.asarray(labels), jnp.asarray(predictions)].add(1)
    correct = jnp.diag(confusion)
    f1 = 2 * correct / jnp.maximum(confusion.sum(0) + confusion.sum(1), 1)
    return ClassifierScore(correct.sum() / confusion.sum(), f1.mean(), confusion)


def validation_metrics(
    labels: ArrayLike, predictions: ArrayLike, num_classes: int
) -> dict[str, Array]:
    """The validation metrics of a classifier; `validation_score` is the mean of the two others."""
    score = score_classifier(labels, predictions, num_classes)
    return {
        "validation_accuracy": score.accuracy,
        "validation_macro_f1": score.macro_f1,
        "validation_score": (score.accuracy + score.macro_f1) / 2,
    }
