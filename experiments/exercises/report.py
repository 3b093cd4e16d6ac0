"""The report of `experiments.exercises`: windows and whole recordings of unseen subjects."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.confidence import (
    calibrate,
    calibration_error,
    describe_answer,
    fit_temperature,
)
from experiments.common.outputs import write_results
from experiments.common.report import format_table, mean_and_deviation, plots
from experiments.common.report.bootstrap import ratio_interval
from experiments.common.report.heat_maps import plot_confusion
from experiments.common.training import loop
from experiments.common.training.metrics import read_records, score_classifier
from experiments.exercises.augmentation import mirror
from experiments.exercises.baselines import random_forest
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
ONE, ALL = "{}, one network", "{}, {} averaged"


def cross_validate_forests(
    recordings: Recordings, folds: np.ndarray, windows: Windows, size: int, mirrored: bool
) -> np.ndarray:
    """Log-probabilities [M, C] of windows, by forests that never saw their subjects.

    Args:
      recordings: N recordings.
      folds: [N]; one forest is trained per fold, on all other folds.
      windows: M windows to classify.
      size: T, the samples per window; the forests are trained on windows that overlap by half.
      mirrored: whether each training window is also used as the other arm's.
    """
    tested = window_signals(recordings, windows, size)
    log_probs = np.zeros((len(tested), CLASSES))
    all_windows = cut_windows(recordings.lengths, size, size // 2)
    for fold in np.unique(folds):
        is_train = folds[all_windows.recordings] != fold
        train = Windows(all_windows.recordings[is_train], all_windows.starts[is_train])
        signals = window_signals(recordings, train, size)
        labels = recordings.labels[train.recordings]
        if mirrored:
            signals = np.concatenate([signals, np.asarray(mirror(signals))])
            labels = np.concatenate([labels, labels])
        held_out = folds[windows.recordings] == fold
        log_probs[held_out] = random_forest(signals, labels, tested[held_out], seed=0)
    return log_probs


def classify_recordings(log_probs: np.ndarray, recordings: np.ndarray, vote: bool) -> np.ndarray:
    """The class of each recording by all of its windows: int [N].

    Args:
      log_probs: [M, C], of the windows.
      recordings: [M], the recording of each window, 0 to N - 1.
      vote: whether each window has one vote; otherwise log-probabilities are added.
    """
    votes = np.eye(log_probs.shape[1])[log_probs.argmax(1)] if vote else log_probs
    sums = np.zeros((recordings.max() + 1, log_probs.shape[1]))
    np.add.at(sums, recordings, votes)
    return sums.argmax(1)


def mean_by_recording(log_probs: np.ndarray, recordings: np.ndarray) -> np.ndarray:
    """The mean log-probabilities [N, C] of the windows [M, C] of each recording, int [M]."""
    sums = np.zeros((recordings.max() + 1, log_probs.shape[1]))
    np.add.at(sums, recordings, log_probs)
    return sums / np.bincount(recordings)[:, None]


def describe_recording(
    log_probs: np.ndarray, names: Sequence[str], temperature: float, still: int
) -> str:
    """The answer for a recording, and how many of its windows each class has.

    Args:
      log_probs: [M, K], of its windows with movement.
      names: of the K classes.
      temperature: of the mean log-probabilities.
      still: the number of windows without movement.
    """
    votes = np.bincount(log_probs.argmax(1), minlength=len(names))
    counts = [f"{names[i]} {votes[i]}" for i in np.argsort(-votes) if votes[i]]
    counts += [f"without movement {still}"] if still else []
    answer = describe_answer(calibrate(log_probs.mean(0), temperature), names)
    return f"{answer}\nwindows, half overlapping: {', '.join(counts)}"


def describe_confidence(log_probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Prints and returns the calibration error of recordings' answers, and the temperature.

    Args:
      log_probs: [N, C], see `mean_by_recording`.
      labels: [N].
    """
    temperature = fit_temperature(log_probs, labels)
    before, after = (
        calibration_error(calibrate(log_probs, value), labels) for value in (1.0, temperature)
    )
    print(
        f"Confidence in recordings: calibration error {before:.1%} before and {after:.1%} after "
        f"temperature scaling on the same recordings (T = {temperature:.2f})"
    )
    return {"temperature": temperature, "error before": before, "error after": after}


def score(log_probs: np.ndarray, recordings: Recordings, windows: Windows) -> list[float]:
    """The score in each of COLUMNS, as a fraction."""
    truth = recordings.labels[windows.recordings]
    windows_score = score_classifier(truth, log_probs.argmax(1), CLASSES)
    right = [
        float(
            (classify_recordings(log_probs, windows.recordings, vote) == recordings.labels).mean()
        )
        for vote in (True, False)
    ]
    return [float(windows_score.accuracy), float(windows_score.macro_f1), *right]


class Difference(NamedTuple):
    """The difference of two shares, with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:+.1f} points ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


def compare_by_subject(
    first: np.ndarray, second: np.ndarray, subjects: np.ndarray, draws: int = 10_000, seed: int = 0
) -> Difference:
    """The difference of two means over the same N examples, with a bootstrap over subjects.

    Args:
      first, second: [N], such as whether each answer is right.
      subjects: [N], the subject of each example.
      draws: the number of resamples.
      seed: the seed of the draws.
    """
    gains = first.astype(float) - second.astype(float)
    interval = ratio_interval(gains, np.ones(len(gains)), subjects, draws, seed)
    return Difference(float(gains.mean()), *interval)


def write_report(
    title: str,
    networks: np.ndarray,
    recordings: Recordings,
    folds: np.ndarray,
    windows: Windows,
    out: Path,
) -> None:
    """Prints the comparison with forests, and writes results.json and plots to `out`.

    Args:
      title: of the networks' cell.
      networks: log-probabilities [seeds, M, C] of the windows, by networks that never saw their
        subjects.
      recordings: N recordings.
      folds: [N].
      windows: M windows, side by side.
      out: the folder.
    """
    size = windows.starts[windows.starts > 0].min()
    rivals = {
        name: cross_validate_forests(recordings, folds, windows, size, mirrored)
        for name, mirrored in ((FOREST, False), (MIRRORED, True))
    }
    one, averaged = ONE.format(title), ALL.format(title, len(networks))
    answers = {name: [log_probs] for name, log_probs in rivals.items()}
    answers |= {one: list(networks), averaged: [networks.mean(0)]}
    table = {
        name: np.array([score(log_probs, recordings, windows) for log_probs in row])
        for name, row in answers.items()
    }
    rows = [[name, *map(mean_and_deviation, values.T)] for name, values in table.items()]
    print(f"\n{format_table(['% right', *COLUMNS], rows)}\n")
    results = {
        name: dict(zip(COLUMNS, values.mean(0).tolist(), strict=True))
        for name, values in table.items()
    }
    results[f"{one}, each seed"] = dict(zip(COLUMNS, table[one].T.tolist(), strict=True))
    differences = compare(title, answers[averaged][0], rivals[FOREST], recordings, windows)
    results["difference to the forest, 95% interval"] = differences
    evidence = mean_by_recording(answers[averaged][0], windows.recordings)
    results["confidence"] = describe_confidence(evidence, recordings.labels)
    write_results(out / "results.json", results)
    draw_plots({FOREST: rivals[FOREST], averaged: answers[averaged][0]}, recordings, windows, out)


def compare(
    title: str, network: np.ndarray, forest: np.ndarray, recordings: Recordings, windows: Windows
) -> dict[str, list[float]]:
    """Prints how much better the network is, overall and for each subject.

    Args:
      title: of the network's cell.
      network, forest: log-probabilities [M, C] of the windows.
      recordings, windows: the windows and where they come from.

    Returns: the differences as JSON values.
    """
    both = (network, forest)
    truth = recordings.labels[windows.recordings]
    subjects = recordings.subjects[windows.recordings]
    right = [log_probs.argmax(1) == truth for log_probs in both]
    whole = [classify_recordings(log_probs, windows.recordings, vote=False) for log_probs in both]
    whole_right = [answer == recordings.labels for answer in whole]
    differences = {
        "windows": compare_by_subject(*right, subjects),
        "recordings": compare_by_subject(*whole_right, recordings.subjects),
    }
    for name, difference in differences.items():
        print(f"{name}: the {title} minus the forest, by bootstrap over subjects: {difference}")
    each = [
        f"{subject}: {right[0][subjects == subject].mean():.0%} "
        f"and {right[1][subjects == subject].mean():.0%}"
        for subject in np.unique(subjects)
    ]
    print(f"windows of each subject, {title} and forest: {', '.join(each)}")
    return {name: list(difference) for name, difference in differences.items()}


def draw_plots(
    answers: dict[str, np.ndarray], recordings: Recordings, windows: Windows, out: Path
) -> None:
    """Draws the confusion matrices of windows, and the learning curves."""
    truth = recordings.labels[windows.recordings]
    matrices = {
        name: np.asarray(score_classifier(truth, log_probs.argmax(1), CLASSES).confusion)
        for name, log_probs in answers.items()
    }
    plot_confusion(out / "confusion.png", matrices, EXERCISES)
    records = {"all networks": read_records(out / "networks" / loop.METRICS)}
    loss = "cross-entropy, nats, sum over the networks"
    metric = plots.Curve("seen_accuracy", "accuracy on windows of the training")
    plots.plot_learning_curves(out / "learning_curves.png", records, loss, metric)
