"""The report of `experiments.images`: tables, results.json and figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.report import format_table, mean_and_deviation
from experiments.common.report.plots import plot_learning_curves
from experiments.images import plots as image_plots
from experiments.images.sequences import READINGS, cell_title, hidden_size_for, reading_title
from experiments.training_difficulty.report import describe_flow
from experiments.vision.digits import Digits


class Read(NamedTuple):
    """What a cell made of the images."""

    accuracy: float  # on the test set
    before: np.ndarray  # [T]: the gradient's norm so many steps back, relative, untrained
    after: np.ndarray  # [T]: the same, trained
    records: list[dict[str, Any]]  # of its training, as in metrics.jsonl


Compared = Mapping[str, Mapping[str, Read]]  # for each reading, that of each cell


def accuracy(answers: np.ndarray, digits: Digits) -> float:
    """The share of answers [N] that are right."""
    return float((answers == digits.labels).mean())


def describe_classifiers(rows: Mapping[str, Sequence[float]], num_test: int) -> str:
    """A table of accuracies, several seeds as mean ± sample standard deviation, with the 95%
    interval of a share of `num_test` digits (Wilson 1927)."""
    table = []
    for name, shares in rows.items():
        low, high = wilson_interval(float(np.mean(shares)), num_test)
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        table.append([name, mean_and_deviation(shares), interval])
    return format_table([f"{num_test} test digits, % right", "", "95% interval"], table)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95% confidence interval of a proportion that was found to be `share` of `count`.

    Reference: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    z = 1.96
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return middle - half, middle + half


def describe_cells(compared: Compared, parameters: int) -> str:
    """Two tables: what the cells got right, and how much of the gradient reaches the first step."""
    cells = list(next(iter(compared.values())))
    names = [cell_title(cell) for cell in cells]
    right, reach = [], []
    for reading, row in compared.items():
        epochs = len(row[cells[0]].records)
        sizes = "/".join(str(hidden_size_for(cell, reading, parameters)) for cell in cells)
        shares = [f"{100 * row[cell].accuracy:.1f}" for cell in cells]
        right.append([reading_title(reading), str(epochs), sizes, *shares])
        left = [describe_flow(read.before[-1:], read.after[-1:]) for read in row.values()]
        reach.append([reading_title(reading), *left])
    header = [f"{parameters:,} parameters, % right", "epochs", "units"]
    return (
        f"{format_table([*header, *names], right)}\n\n"
        "Of the gradient reach the first step, untrained → trained\n"
        f"{format_table(['', *names], reach)}"
    )


def write_report(
    rows: Mapping[str, Sequence[float]],
    compared: Compared,
    parameters: int,
    shown: tuple[Digits, np.ndarray],
    out: Path,
) -> None:
    """Prints the comparison, and writes results.json and figures to `out`.

    Args:
      rows: the test accuracy of each classifier that sees the image as it likes, for each seed.
      compared: of the cells.
      parameters: about how many each of these has.
      shown: the test set, and the probabilities [N, 10] that the best network gives its digits.
      out: the folder.
    """
    test, chances = shown
    print(f"\n{describe_classifiers(rows, len(test.labels))}")
    print(f"\n{describe_cells(compared, parameters)}")
    results = {
        "classifiers": {name: list(shares) for name, shares in rows.items()},
        "cells": {
            reading: {
                cell: {
                    "accuracy": read.accuracy,
                    "gradient at the first step, untrained and trained": [
                        float(read.before[-1]),
                        float(read.after[-1]),
                    ],
                }
                for cell, read in row.items()
            }
            for reading, row in compared.items()
        },
    }
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    draw_figures(compared, out)
    image_plots.plot_misread(out / "misread.png", test.images, test.labels, chances)


def draw_figures(compared: Compared, out: Path) -> None:
    """Draws what the cells got right, the gradients, and the longest reading by itself."""
    shares = {
        reading_title(reading): {cell: read.accuracy for cell, read in row.items()}
        for reading, row in compared.items()
    }
    image_plots.plot_accuracy(out / "accuracy.png", shares)
    profiles = {
        reading_title(reading): {cell: (read.before, read.after) for cell, read in row.items()}
        for reading, row in compared.items()
    }
    image_plots.plot_gradients(out / "gradients.png", profiles)
    longest = max(compared, key=lambda reading: READINGS[reading][0])
    title, records = (
        reading_title(longest),
        {c: read.records for c, read in compared[longest].items()},
    )
    image_plots.plot_failure(out / "longest.png", title, records, profiles[title])


def draw_learning_curves(records: Mapping[str, list[dict[str, Any]]], out: Path) -> None:
    """Draws the training of the networks that see the image as they like."""
    plot_learning_curves(out / "learning_curves.png", records, "validation_log_likelihood")
