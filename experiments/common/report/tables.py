"""The report of a comparison of classifiers: one row each, over all folds and seeds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.report import plots
from experiments.common.training.metrics import read_records, score_classifier


class Answers(NamedTuple):
    """What one classifier answered on the N test examples of one fold."""

    labels: np.ndarray  # int [N]
    predictions: np.ndarray  # int [N]
    parts: np.ndarray  # str [N]: the part of the data each example is from


def comparison_table(
    rows: dict[str, list[Answers]], parts: Sequence[str], num_classes: int, path: Path
) -> str:
    """Compares classifiers: accuracy and macro-F1 in percent, and the accuracy on each part.

    Several answers of a row (folds, seeds) give "mean ±sample standard deviation".

    Args:
      rows: for each classifier its answers.
      parts: the names of the parts, in the order of the columns.
      num_classes: C.
      path: the JSON file to which the mean of every cell is also written, as fractions.

    Returns: the table as text.
    """
    columns = ["accuracy", "macro-F1", *parts]
    cells: dict[str, dict[str, list[float]]] = {}
    for name, answers in rows.items():
        cells[name] = {column: [] for column in columns}
        for labels, predictions, part_names in answers:
            score = score_classifier(labels, predictions, num_classes)
            cells[name]["accuracy"].append(float(score.accuracy))
            cells[name]["macro-F1"].append(float(score.macro_f1))
            for part in parts:
                right = (labels == predictions)[part_names == part]
                cells[name][part].append(float(right.mean()) if len(right) else float("nan"))
    means = {n: {c: float(np.mean(v)) for c, v in row.items()} for n, row in cells.items()}
    path.write_text(json.dumps(means, indent=2) + "\n", encoding="utf-8")
    table = [[n, *map(mean_and_deviation, row.values())] for n, row in cells.items()]
    return format_table(["% right", *columns], table)


def write_report(
    rows: dict[str, list[Answers]], parts: Sequence[str], classes: Sequence[str], directory: Path
) -> None:
    """Prints the comparison and writes it beside the trainings in `directory`.

    Writes results.json, confusion.png (all classifiers but the first, which answers without
    looking) and learning_curves.png (of every training in a folder of `directory`).
    """
    print(f"\n{comparison_table(rows, parts, len(classes), directory / 'results.json')}")
    matrices = {name: confusion(answers, len(classes)) for name, answers in rows.items()}
    name, matrix = list(matrices.items())[-1]
    print(f"\n{name}: rows true, columns predicted ({', '.join(classes)})\n{matrix}")
    plots.plot_confusion(directory / "confusion.png", dict(list(matrices.items())[1:]), classes)
    paths = sorted(directory.glob("*/metrics.jsonl"))
    records = {path.parent.name: read_records(path) for path in paths}
    plots.plot_learning_curves(directory / "learning_curves.png", records, "validation_score")
    print(f"\nresults.json, plots and models are in {directory}.")


def confusion(answers: Sequence[Answers], num_classes: int) -> np.ndarray:
    """Adds up the confusion matrices of several folds or seeds: [C, C]."""
    scores = [score_classifier(a.labels, a.predictions, num_classes) for a in answers]
    return np.sum([np.asarray(score.confusion) for score in scores], axis=0)


def describe_answer(
    classes: Sequence[str], probabilities: np.ndarray, tokens: Sequence[str], attention: np.ndarray
) -> str:
    """Says what a classifier answers to one text, and the five tokens it attended to most.

    Args:
      classes: the C names.
      probabilities: [C].
      tokens: [T].
      attention: [T], the weight of each token.
    """
    chances = zip(classes, probabilities, strict=True)
    attended = sorted(zip(attention, tokens, strict=True), reverse=True)[:5]
    lines = [
        classes[int(probabilities.argmax())],
        "  ".join(f"{name} {chance:.0%}" for name, chance in chances),
        "attended to:  " + "  ".join(f"{token} {weight:.0%}" for weight, token in attended),
    ]
    return "\n".join(lines)


def mean_and_deviation(values: Sequence[float]) -> str:
    """Formats fractions as a percentage: "65.1", or "65.1 ±0.8" (sample sd) for several."""
    percent = 100 * np.asarray(values)
    return f"{percent.mean():.1f}" + (f" ±{percent.std(ddof=1):.1f}" if len(percent) > 1 else "")


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lays out a table in columns: the first flush left, the others flush right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join("  " + x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))
        for row in [header, *rows]
    )
