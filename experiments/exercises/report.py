"""The report of `experiments.exercises`: windows and whole recordings of subjects never seen."""

import json
from pathlib import Path

import numpy as np

from experiments.common.report import format_table, mean_and_deviation, plots
from experiments.common.training import loop
from experiments.common.training.metrics import read_records, score_classifier
from experiments.exercises.augmentation import mirror
from experiments.exercises.bootstrap import difference_by_group
from experiments.exercises.features import random_forest
from experiments.exercises.wrist_sensor import (
    EXERCISES,
    Recordings,
    Windows,
    cut_windows,
    window_signals,
)

CLASSES = len(EXERCISES)
COLUMNS = ("windows", "macro-F1", "recordings, by vote", "recordings, by mean log-probability")
FOREST, MIRRORED = "features + random forest", "the same, mirrored recordings too"
ONE, ALL = "GRU, one network", "GRU, {} averaged"


def forests(
    recordings: Recordings, folds: np.ndarray, windows: Windows, size: int, mirrored: bool
) -> np.ndarray:
    """Log-probabilities [M, C] of test windows, by a forest on each fold's other subjects.

    Args:
      recordings: N of them.
      folds: [N].
      windows: M of them, to be named.
      size: T; the forest is trained on windows that overlap by half.
      mirrored: whether it is also trained on each window as the other arm's.
    """
    tested = window_signals(recordings, windows, size)
    found = np.zeros((len(tested), CLASSES))
    everything = cut_windows(recordings.lengths, size, size // 2)
    for fold in np.unique(folds):
        known = folds[everything.recordings] != fold
        train = Windows(everything.recordings[known], everything.starts[known])
        signals, labels = (
            window_signals(recordings, train, size),
            recordings.labels[train.recordings],
        )
        if mirrored:
            signals = np.concatenate([signals, np.asarray(mirror(signals))])
            labels = np.concatenate([labels, labels])
        held_out = folds[windows.recordings] == fold
        found[held_out] = random_forest(signals, labels, tested[held_out], seed=0)
    return found


def by_recording(log_probs: np.ndarray, owners: np.ndarray, vote: bool) -> np.ndarray:
    """What the windows [M, C] of each recording say together: int [N].

    Args:
      log_probs: [M, C].
      owners: [M], the recording of each window, 0 to N - 1.
      vote: each window has one vote; otherwise their log-probabilities are added up.
    """
    voices = np.eye(log_probs.shape[1])[log_probs.argmax(1)] if vote else log_probs
    sums = np.zeros((owners.max() + 1, log_probs.shape[1]))
    np.add.at(sums, owners, voices)
    return sums.argmax(1)


def scores(log_probs: np.ndarray, recordings: Recordings, windows: Windows) -> list[float]:
    """Of each of COLUMNS, as a fraction."""
    truth = recordings.labels[windows.recordings]
    score = score_classifier(truth, log_probs.argmax(1), CLASSES)
    whole = [by_recording(log_probs, windows.recordings, vote) for vote in (True, False)]
    right = [float((answer == recordings.labels).mean()) for answer in whole]
    return [float(score.accuracy), float(score.macro_f1), *right]


def write_report(
    networks: np.ndarray, recordings: Recordings, folds: np.ndarray, windows: Windows, out: Path
) -> None:
    """Prints the comparison with forests, and writes results.json and plots to `out`.

    Args:
      networks: log-probabilities [seeds, M, C] of the windows, each by networks that have not seen
        its subject.
      recordings, folds, windows: what was tested.
      out: the folder.
    """
    size = windows.starts[windows.starts > 0].min()  # they lie side by side
    rivals = {
        name: forests(recordings, folds, windows, size, mirrored)
        for name, mirrored in ((FOREST, False), (MIRRORED, True))
    }
    averaged = ALL.format(len(networks))
    answers = {name: [found] for name, found in rivals.items()}
    answers |= {ONE: list(networks), averaged: [networks.mean(0)]}
    table = {
        name: np.array([scores(found, recordings, windows) for found in row])
        for name, row in answers.items()
    }
    rows = [[name, *map(mean_and_deviation, values.T)] for name, values in table.items()]
    print(f"\n{format_table(['% right', *COLUMNS], rows)}\n")
    results = {
        name: dict(zip(COLUMNS, values.mean(0).tolist(), strict=True))
        for name, values in table.items()
    }
    differences = compare(answers[averaged][0], rivals[FOREST], recordings, windows)
    results["difference to the forest, 95% interval"] = differences
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    draw_plots({FOREST: rivals[FOREST], averaged: answers[averaged][0]}, recordings, windows, out)


def compare(
    first: np.ndarray, second: np.ndarray, recordings: Recordings, windows: Windows
) -> dict[str, list[float]]:
    """Prints, and returns, how much better the first is, and what each subject says."""
    owners = windows.recordings
    truth, subjects = recordings.labels[owners], recordings.subjects[owners]
    right = [log_probs.argmax(1) == truth for log_probs in (first, second)]
    whole = [by_recording(found, owners, False) == recordings.labels for found in (first, second)]
    differences = {
        "windows": difference_by_group(*right, subjects),
        "recordings": difference_by_group(*whole, recordings.subjects),
    }
    for name, difference in differences.items():
        print(f"{name}: the GRU's share is {difference} above the forest's, by subjects.")
    each = [
        f"{subject}: {right[0][subjects == subject].mean():.0%} "
        f"and {right[1][subjects == subject].mean():.0%}"
        for subject in np.unique(subjects)
    ]
    print(f"windows of each subject, GRU and forest: {', '.join(each)}")
    return {name: list(difference) for name, difference in differences.items()}


def draw_plots(
    answers: dict[str, np.ndarray], recordings: Recordings, windows: Windows, out: Path
) -> None:
    """Draws the confusion matrices of windows, and the learning curves."""
    truth = recordings.labels[windows.recordings]
    matrices = {
        name: np.asarray(score_classifier(truth, found.argmax(1), CLASSES).confusion)
        for name, found in answers.items()
    }
    plots.plot_confusion(out / "confusion.png", matrices, EXERCISES)
    records = {"all networks": read_records(out / "networks" / loop.METRICS)}
    plots.plot_learning_curves(out / "learning_curves.png", records, "seen_accuracy")
