"""The report of a classifier of the user's examples, compared with baselines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.report.heat_maps import plot_confusion
from experiments.common.report.shares import wilson_interval
from experiments.common.report.tables import format_table
from experiments.common.training.metrics import score_classifier


def report_classes(
    truth: np.ndarray,
    answers: Mapping[str, np.ndarray],
    names: Sequence[str],
    kind: str,
    out: Path,
    independent: int | None = None,
) -> dict[str, Any]:
    """Prints accuracy with its 95% interval, and macro-F1; draws confusion.png of the first.

    Args:
      truth: int [N], the classes of the test examples.
      answers: by classifier, int [N].
      names: of the C classes.
      kind: the examples, in the plural.
      out: the folder of the plot.
      independent: how many of the examples count for the interval; None: all of them. Where
        several are of one recording or person, it is the number of these.

    Returns: the figures as JSON values.
    """
    scores = {name: score_classifier(truth, row, len(names)) for name, row in answers.items()}
    right = {name: float(score.accuracy) for name, score in scores.items()}
    f1 = {name: float(score.macro_f1) for name, score in scores.items()}
    intervals = {
        name: wilson_interval(share, independent or len(truth)) for name, share in right.items()
    }
    rows = [
        [name, f"{share:.1%}", "{:.1%} to {:.1%}".format(*intervals[name]), f"{100 * f1[name]:.1f}"]
        for name, share in right.items()
    ]
    print(f"\n{format_table([f'{len(truth)} {kind}', 'right', '95% interval', 'macro-F1'], rows)}")
    first = next(iter(answers))
    plot_confusion(out / "confusion.png", {first: np.asarray(scores[first].confusion)}, names)
    return {"right": right, "95% interval": intervals, "macro-F1": f1}
