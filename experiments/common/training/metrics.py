"""Metrics: the metrics.jsonl of a run, and the scores of a classifier.

metrics.jsonl holds one JSON object per epoch with reproducible values only. Wall times are kept
elsewhere, so two runs of the same training can be compared byte by byte.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from experiments.common.durable import (
    DamagedFileError,
    append_durably,
    free_name,
    naming,
    write_durably,
)


def format_record(record: dict[str, Any]) -> str:
    """The line of a metrics.jsonl. Floats survive the round trip exactly."""
    return json.dumps(record) + "\n"


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Appends one line to a metrics.jsonl; it is on the disk when the function returns."""
    append_durably(path, format_record(record).encode())


def read_records(path: Path) -> list[dict[str, Any]]:
    """Reads a metrics.jsonl, without a last line that a killed process left unfinished.

    Raises:
      DamagedFileError: another line is no record.
    """
    lines = path.read_bytes().splitlines() if path.exists() else []
    records = [_parse(line) for line in lines]
    if records and records[-1] is None:
        records.pop()
    if None in records:
        raise DamagedFileError(f"{path} is damaged: line {records.index(None) + 1} is no record.")
    return [record for record in records if record is not None]


def repair_records(path: Path, epoch: int, proven: str | None) -> str:
    """Makes a metrics.jsonl end with `epoch`, the epoch of the restored checkpoint.

    The row of one more epoch is cut in silence: its checkpoint was not written any more. Everything
    else is told with a warning, and the file as it was is kept beside the repaired one.

    Args:
      path: the file; it may be missing.
      epoch: the number of rows that the checkpoint proves.
      proven: these rows, as text; None: the checkpoint has no copy of them.

    Returns: the text that the file has now.

    Raises:
      OSError: it cannot be read or repaired.
    """
    with naming(path):
        found = path.read_bytes() if path.exists() else b""
    lines = _lines_by_epoch(found)
    remedy = "restored from the checkpoint"
    if proven is None:
        proven = "".join(lines[number] for number in sorted(lines) if 1 <= number <= epoch)
        remedy = "of which the checkpoint has no copy"
    content = proven.encode()
    expected = _lines_by_epoch(content)
    missing = [n for n in range(1, epoch + 1) if n not in lines or lines[n] != expected[n]]
    is_ahead = found.startswith(content) and found[len(content) :].count(b"\n") <= 1
    if missing:
        problem = f"lacks the right rows of {_format_epochs(missing)}, {remedy}"
    else:
        problem = f"has other rows than those up to epoch {epoch}, at which the training goes on"
    kept = None
    if found and not is_ahead:
        kept = free_name(path)
        write_durably(kept, found)
    if missing or kept:
        end = f"; as it was, it is kept as {kept}." if kept else "."
        warnings.warn(f"{path} {problem}{end}", stacklevel=3)
    if found != content:
        write_durably(path, content)
    return proven


def _format_epochs(numbers: Sequence[int]) -> str:
    """Formats ascending numbers, as in "epochs 1-3, 7"."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    runs = [str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)]
    return f"epoch{'s' if len(numbers) > 1 else ''} {', '.join(runs)}"


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record in a line; None if there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None
    return record if isinstance(record, dict) else None


def _lines_by_epoch(content: bytes) -> dict[int, str]:
    """The lines of a metrics.jsonl by their epoch, the first of each."""
    lines: dict[int, str] = {}
    for record in map(_parse, content.splitlines()):
        if record is not None and isinstance(record.get("epoch"), int):
            lines.setdefault(record["epoch"], format_record(record))
    return lines


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
