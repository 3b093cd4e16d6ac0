"""Metrics: the metrics.jsonl of a run, and the figures of a classifier.

metrics.jsonl holds one JSON object an epoch with everything that must be reproducible, and nothing
else: wall times are not in it, so two runs of the same training can be compared byte by byte.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Appends one line to a metrics.jsonl. Floats are written so that they read back exactly."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read_records(path: Path) -> list[dict[str, Any]]:
    """Reads a metrics.jsonl, leaving out a last line that a killed process did not finish."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def truncate_records(path: Path, num_records: int) -> None:
    """Keeps the first `num_records` lines, so that the file agrees with a restored checkpoint."""
    records = read_records(path)[:num_records]
    temporary = path.with_name(path.name + ".new")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    temporary.replace(path)


class ClassifierScore(NamedTuple):
    """How a classifier did on N examples of C classes."""

    accuracy: float  # fraction in [0, 1]
    macro_f1: float  # unweighted mean over the classes, in [0, 1]
    confusion: np.ndarray  # [C, C] counts; rows are the true class, columns the predicted one


def score_classifier(labels: np.ndarray, predictions: np.ndarray, num_classes: int):
    """Scores integer `predictions` [N] against integer `labels` [N] as a `ClassifierScore`."""
    classes = list(range(num_classes))
    return ClassifierScore(
        float(np.mean(labels == predictions)),
        float(f1_score(labels, predictions, labels=classes, average="macro", zero_division=0)),
        confusion_matrix(labels, predictions, labels=classes),
    )
