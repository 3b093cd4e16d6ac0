"""The report of a network that was trained on the user's recordings."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.common.outputs import write_results, write_text
from experiments.common.report.classes import report_classes
from experiments.exercises.own_signals import OwnData
from experiments.exercises.report import mean_by_recording


def describe_split(data: OwnData, has_persons: bool) -> str:
    """What is in the parts."""
    counts = [len(np.unique(data.groups[part])) for part in data.split]
    kind = "persons" if has_persons else "recordings"
    lines = "{} {} to train on, {} to validate, {} to test.".format(counts[0], kind, *counts[1:])
    if has_persons:
        return lines
    return (
        f"{lines}\nThe persons are not known, and windows of one person resemble each other: "
        "new persons may be recognized less well than these figures say."
    )


def report_own(
    log_probs: Mapping[str, np.ndarray],
    train_labels: np.ndarray,
    test: tuple[np.ndarray, np.ndarray],
    names: list[str],
    independent: int,
    out: Path,
) -> None:
    """Prints the scores on windows and recordings; writes results.json and a plot.

    Args:
      log_probs: [M, K] of test windows, by classifier.
      train_labels: int, of the training windows.
      test: the labels and the recordings of the test windows, int [M] each.
      names: of the K labels.
      independent: how many persons or recordings are tested.
      out: the folder.
    """
    frequent = int(np.bincount(train_labels).argmax())
    majority = np.tile(np.log(0.9 * np.eye(len(names))[frequent] + 0.1), (len(test[0]), 1))
    both = {**log_probs, f"always {names[frequent]}": majority}
    answers = {name: row.argmax(-1) for name, row in both.items()}
    figures = report_classes(test[0], answers, names, "test windows", out, independent)
    right = {}
    for name, row in both.items():
        evidence, labels = by_recording(row, *test)
        right[name] = float((evidence.argmax(-1) == labels).mean())
    count = len(labels)
    shares = ", ".join(f"{name} {round(share * count)}" for name, share in right.items())
    print(f"\nRight of {count} test recordings, by all of their windows: {shares}")
    write_results(out / "results.json", figures | {"recordings right": right})


def by_recording(
    log_probs: np.ndarray, labels: np.ndarray, recordings: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The mean log-probabilities of each recording and label, and these labels."""
    pairs, places = np.unique(np.stack([recordings, labels]), axis=1, return_inverse=True)
    return mean_by_recording(log_probs, places.ravel()), pairs[1]


def write_example(path: Path, data: OwnData, channels: list[str]) -> None:
    """Writes a piece of the test part as a table, in the user's units."""
    piece = data.split.test[0]
    signal = data.pieces.signals[piece, : data.pieces.lengths[piece]]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(channels)
    writer.writerows([f"{x:.6g}" for x in row] for row in data.scale.restore(signal))
    write_text(path, text.getvalue())
