"""The report of `experiments.sentiment`: one row per classifier, over all folds and seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from experiments.common.confidence import SURE
from experiments.common.outputs import write_results
from experiments.common.report import format_table, mean_and_deviation, plots
from experiments.common.report.heat_maps import plot_confusion
from experiments.common.training.metrics import read_records, score_classifier
from experiments.sentiment.check_list import CHECKS, score_checks

SHADES = colormaps["Oranges"](np.linspace(0, 0.65, 64))  # light enough for black words
SHOWN = 5  # classes and tokens of an answer
CALIBRATION = ("calibration error, uncalibrated", "calibration error")


class Predictions(NamedTuple):
    """A classifier's predictions for the N test examples of one fold."""

    labels: np.ndarray  # int [N]
    predictions: np.ndarray  # int [N]
    parts: np.ndarray  # str [N]: the part of the data that each example belongs to
    # the errors before and after the calibration, see `experiments.common.confidence`
    calibration_errors: tuple[float, float] | None = None
    checks: np.ndarray | None = None  # int [40], the answers for `check_list.TEXTS`


class Answer(NamedTuple):
    """The classifier's answer for one text of T tokens in C classes."""

    classes: Sequence[str]
    probabilities: np.ndarray  # [C]
    tokens: Sequence[str]  # that were read
    attention: np.ndarray  # [T]
    notes: Sequence[str] = ()  # one sentence per reason to doubt the answer


def judge_answers(
    labels: np.ndarray,
    domains: np.ndarray,
    given: np.ndarray,
    errors: tuple[float, float] | None = None,
) -> Predictions:
    """Divides the answers for N test sentences and for the check list, and adds the labels [N]."""
    tested, checks = np.split(given, [len(labels)])
    return Predictions(labels, tested, domains, errors, checks)


def comparison_table(
    rows: dict[str, list[Predictions]], parts: Sequence[str], num_classes: int, path: Path
) -> str:
    """Compares classifiers: accuracy and macro-F1 in percent, and the accuracy on each part.

    Several predictions per row (folds, seeds) give "mean ±sample standard deviation".

    Args:
      rows: the predictions of each classifier.
      parts: the names of the parts, in the order of the columns.
      num_classes: C.
      path: the JSON file for the mean of every cell and its standard deviation, as fractions.

    Returns: the table as text.
    """
    columns = ["accuracy", "macro-F1", *parts]
    cells: dict[str, dict[str, list[float]]] = {}
    for name, results in rows.items():
        cells[name] = {column: [] for column in columns}
        for labels, predictions, part_names, *_ in results:
            score = score_classifier(labels, predictions, num_classes)
            cells[name]["accuracy"].append(float(score.accuracy))
            cells[name]["macro-F1"].append(float(score.macro_f1))
            for part in parts:
                correct = (labels == predictions)[part_names == part]
                cells[name][part].append(float(correct.mean()) if len(correct) else float("nan"))
    means: dict[str, dict[str, Any]] = {
        n: {c: float(np.mean(v)) for c, v in row.items()} for n, row in cells.items()
    }
    for name, results in rows.items():
        means[name] |= mean_calibration_errors(results)
        if answers := [result.checks for result in results if result.checks is not None]:
            means[name] |= score_checks(answers)
        if len(results) > 1:
            spread = {c: float(np.std(values, ddof=1)) for c, values in cells[name].items()}
            means[name]["standard deviation"] = spread
    write_results(path, means)
    table = [[n, *map(mean_and_deviation, row.values())] for n, row in cells.items()]
    return format_table(["% correct", *columns], table)


def mean_calibration_errors(row: Sequence[Predictions]) -> dict[str, float]:
    """The calibration errors before and after the calibration; {} without calibrated results."""
    errors = [result.calibration_errors for result in row if result.calibration_errors]
    return dict(zip(CALIBRATION, np.mean(errors, 0).tolist(), strict=True)) if errors else {}


def write_report(
    rows: dict[str, list[Predictions]],
    parts: Sequence[str],
    classes: Sequence[str],
    directory: Path,
) -> None:
    """Prints the comparison and writes it to `directory`, which also holds the trainings.

    Writes results.json, confusion.png (all classifiers but the first, the majority class) and
    learning_curves.png (of every training in a folder of `directory`).
    """
    print(f"\n{comparison_table(rows, parts, len(classes), directory / 'results.json')}")
    matrices = {name: confusion_matrix(row, len(classes)) for name, row in rows.items()}
    name, matrix = list(matrices.items())[-1]
    print(f"\n{name}: rows true, columns predicted ({', '.join(classes)})\n{matrix}")
    for name, row in rows.items():
        if errors := mean_calibration_errors(row):
            before, after = errors.values()
            print(f"Calibration error of {name}: {after:.1%}, before the calibration {before:.1%}.")
    plot_confusion(directory / "confusion.png", dict(list(matrices.items())[1:]), classes)
    for name, row in rows.items():
        if answers := [result.checks for result in row if result.checks is not None]:
            share = score_checks(answers)["check list"]
            print(f"Check list of {len(CHECKS)} sentences: {name} gets {share:.1%} right.")
    paths = sorted(directory.glob("*/metrics.jsonl"))
    records = {path.parent.name: read_records(path) for path in paths}
    loss = "cross-entropy, nats, and squared error of ratings"
    metric = plots.Curve("validation_score", "validation: mean of accuracy and macro-F1")
    plots.plot_learning_curves(directory / "learning_curves.png", records, loss, metric)
    print(f"\nresults.json, plots and models are in {directory}.")


def confusion_matrix(row: Sequence[Predictions], num_classes: int) -> np.ndarray:
    """The sum of the confusion matrices of several folds or seeds: [C, C]."""
    scores = [score_classifier(p.labels, p.predictions, num_classes) for p in row]
    return np.sum([np.asarray(score.confusion) for score in scores], axis=0)


def describe_answer(answer: Answer) -> str:
    """Describes the answer for one text: at most five classes, and five tokens."""
    classes, probabilities, tokens, attention, notes = answer
    best = int(probabilities.argmax())
    is_sure = probabilities[best] >= SURE
    shown = sorted(np.argsort(-probabilities, kind="stable")[:SHOWN])
    attended = sorted(zip(attention, tokens, strict=True), reverse=True)[:SHOWN]
    lines = [
        classes[best] if is_sure else f"unsure, perhaps {classes[best]}",
        "  ".join(f"{classes[i]} {probabilities[i]:.0%}" for i in shown),
        "attended to:  " + "  ".join(f"{token} {weight:.0%}" for weight, token in attended),
        *notes,
    ]
    return "\n".join(lines)


def plot_attention(path: Path, answers: Sequence[Answer]) -> None:
    """Draws texts word by word as a PNG, each word shaded by its attention weight.

    A text that is wider than the figure ends with an ellipsis.
    """
    figure = Figure((9, 0.45 * len(answers) + 0.9), layout="constrained")
    renderer = FigureCanvasAgg(figure).get_renderer()
    axis = figure.subplots()
    axis.set(xlim=(0, 1), ylim=(len(answers), 0))
    axis.axis("off")
    shades = ScalarMappable(Normalize(0, 100), LinearSegmentedColormap.from_list("", SHADES))
    label = "attention weight, % of the text's largest"
    figure.colorbar(shades, ax=axis, location="bottom", label=label, shrink=0.4, aspect=40)
    figure.draw_without_rendering()
    width = axis.get_window_extent(renderer).width
    for row, (classes, probabilities, tokens, weights, _) in enumerate(answers):
        heading = f"{classes[int(probabilities.argmax())]} {probabilities.max():.0%}"
        axis.text(0, row + 0.5, heading, va="center", fontsize=9, fontweight="bold")
        left = 0.17
        for token, weight in zip(tokens, weights, strict=True):
            color = shades.to_rgba(100 * float(weight) / float(np.max(weights)))
            box = {"facecolor": color, "edgecolor": "none", "pad": 1.5}
            label = token.replace("$", r"\$")
            text = axis.text(left, row + 0.5, label, va="center", fontsize=9, bbox=box)
            left += text.get_window_extent(renderer).width / width + 0.008
            if left > 0.98:
                text.set(text="…", bbox=None)
                break
    plots.save_figure(figure, path)
