"""The report of `experiments.images`: tables, results.json and figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.outputs import write_results
from experiments.common.report import format_table, mean_and_deviation
from experiments.common.report.plots import Curve, cell_title, plot_learning_curves
from experiments.common.report.shares import mean_interval
from experiments.images.plots import plot_accuracy, plot_failure, plot_gradients, plot_misread
from experiments.images.sequences import READINGS, hidden_size_for, reading_title
from experiments.memory.gradient_flow import describe_flow
from experiments.vision.digits import Digits


class CellResult(NamedTuple):
    """How one cell classified one kind of sequence, with several seeds."""

    accuracies: list[float]  # on the test set, of each seed
    before: np.ndarray  # [T], gradient flow of the untrained cell, see `memory.gradient_flow`
    after: np.ndarray  # [T], of the trained one
    records: list[dict[str, Any]]  # of the first seed's training, as in metrics.jsonl


CellResults = Mapping[str, Mapping[str, CellResult]]  # by reading, then by cell


def accuracy(answers: np.ndarray, digits: Digits) -> float:
    """The fraction of correct answers [N]."""
    return float((answers == digits.labels).mean())


def describe_classifiers(rows: Mapping[str, Sequence[float]], num_test: int) -> str:
    """Makes a table of accuracies: mean ± sample standard deviation of several seeds.

    The 95% interval is that of `mean_interval`.
    """
    table = []
    for name, accuracies in rows.items():
        low, high = mean_interval(accuracies, num_test)
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        table.append([name, mean_and_deviation(accuracies), interval])
    return format_table([f"{num_test} test digits, % correct", "", "95% interval"], table)


def describe_cells(results: CellResults, parameters: int) -> str:
    """Makes two tables: accuracies, and how much of the gradient reaches the first step."""
    cells = list(next(iter(results.values())))
    names = [cell_title(cell) for cell in cells]
    accuracies, flows = [], []
    for reading, row in results.items():
        epochs = len(row[cells[0]].records)
        sizes = "/".join(str(hidden_size_for(cell, reading, parameters)) for cell in cells)
        percent = [mean_and_deviation(row[cell].accuracies) for cell in cells]
        accuracies.append([reading_title(reading), str(epochs), sizes, *percent])
        flow = [describe_flow(result.before[-1:], result.after[-1:]) for result in row.values()]
        flows.append([reading_title(reading), *flow])
    header = [f"{parameters:,} parameters, % correct", "epochs", "units"]
    return (
        f"{format_table([*header, *names], accuracies)}\n\n"
        "Share of the gradient that reaches the first step, untrained → trained\n"
        f"{format_table(['', *names], flows)}"
    )


def write_report(
    rows: Mapping[str, Sequence[float]],
    confidence: Mapping[str, Mapping[str, float]],
    results: CellResults,
    parameters: int,
    best: tuple[Digits, np.ndarray],
    out: Path,
) -> None:
    """Prints the comparison, and writes results.json and figures.

    Args:
      rows: the test accuracy of each classifier of whole images, for each seed.
      confidence: the temperature and the calibration errors of each network of whole images.
      results: of the cells.
      parameters: the approximate size of each cell.
      best: the test set, and the probabilities [N, 10] that the best network assigns to it.
      out: the folder to write to.
    """
    test, probabilities = best
    print(f"\n{describe_classifiers(rows, len(test.labels))}")
    table = [
        [name, *(f"{row[key]:.1%}" for key in ("error before", "error after"))]
        for name, row in confidence.items()
    ]
    print(f"\n{format_table(['calibration error', 'before', 'after scaling'], table)}")
    print(f"\n{describe_cells(results, parameters)}")
    summary = {
        "classifiers": {name: list(accuracies) for name, accuracies in rows.items()},
        "95% intervals": {
            name: mean_interval(accuracies, len(test.labels)) for name, accuracies in rows.items()
        },
        "confidence": {name: dict(row) for name, row in confidence.items()},
        "cells": {
            reading: {
                cell: {
                    "accuracy": result.accuracies,
                    "epochs": len(result.records),
                    "gradient at the first step, untrained and trained": [
                        float(result.before[-1]),
                        float(result.after[-1]),
                    ],
                }
                for cell, result in row.items()
            }
            for reading, row in results.items()
        },
    }
    write_results(out / "results.json", summary)
    draw_figures(results, len(test.labels), out)
    plot_misread(out / "misread.png", test.images, test.labels, probabilities)


def draw_figures(results: CellResults, num_test: int, out: Path) -> None:
    """Draws accuracies, gradients, and the longest reading in a figure of its own."""
    accuracies = {
        reading_title(reading): {cell: result.accuracies for cell, result in row.items()}
        for reading, row in results.items()
    }
    plot_accuracy(out / "accuracy.png", accuracies, num_test)
    profiles = {
        reading_title(reading): {
            cell: (result.before, result.after) for cell, result in row.items()
        }
        for reading, row in results.items()
    }
    plot_gradients(out / "gradients.png", profiles)
    longest = max(results, key=lambda reading: READINGS[reading][0])
    records = {cell: result.records for cell, result in results[longest].items()}
    title = reading_title(longest)
    plot_failure(out / "longest.png", title, records, profiles[title])


def draw_learning_curves(records: Mapping[str, list[dict[str, Any]]], out: Path) -> None:
    """Draws the trainings of the networks that see whole images."""
    metric = Curve("validation_log_likelihood", "validation cross-entropy, nats", is_negated=True)
    plot_learning_curves(out / "learning_curves.png", records, "cross-entropy, nats", metric)
