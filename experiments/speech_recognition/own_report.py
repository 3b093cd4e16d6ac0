"""The report of a recognizer that was trained on the user's recordings."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from experiments.common.data.text import pad
from experiments.common.outputs import write_results
from experiments.common.report import format_table
from experiments.common.report.plots import cell_title, plot_learning_curves
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.speech.recognizer import Recognizer
from experiments.speech.scores import edit_distances
from experiments.speech.spoken_digits import Utterances
from experiments.speech_recognition.baselines import nearest_neighbor
from experiments.speech_recognition.own_recordings import OwnData
from experiments.speech_recognition.plots import LEARNING_CURVE
from experiments.speech_recognition.report import describe_confidence, recognize_strings, to_digits

NEAREST, FREQUENT = "nearest recording, time warped", "the most frequent text"
SHOWN = 5  # recordings whose texts are printed


def report_own(
    model: Recognizer, params: Any, temperature: float, own: OwnData, num_beams: int, out: Path
) -> None:
    """Prints the errors on the test recordings, beside two baselines; writes results.json.

    Args:
      model, params: the network.
      temperature: fitted to the validation recordings.
      own: the recordings.
      num_beams: the beams of the prefix beam search.
      out: the folder of the training.
    """
    test = own.test
    inputs = (test.frames, test.lengths, num_beams, temperature)
    heard = to_digits(recognize_strings(model, params, *inputs).beam_search)
    nearest = nearest_neighbor(Utterances(*own.train), Utterances(*test))
    rows = [tuple(row[row >= 0].tolist()) for row in own.train.labels]
    frequent = Counter(rows).most_common(1)[0][0]
    answers = {
        cell_title(model.cell): heard,
        NEAREST: [row[row >= 0].tolist() for row in nearest],
        FREQUENT: [list(frequent)] * len(heard),
    }
    said = [row[row >= 0].tolist() for row in test.labels]
    scores = {name: _score(said, row) for name, row in answers.items()}
    unit = "word errors" if own.separator else "letter errors"
    table = [[name, f"{errors:.1%}", f"{right:.0%}"] for name, (errors, right) in scores.items()]
    print(f"\n{format_table([f'{len(said)} test recordings', unit, 'texts right'], table)}\n")
    for one, other in list(zip(said, heard, strict=True))[:SHOWN]:
        print(f"said: {own.spell(one)}; recognized: {own.spell(other) or 'nothing'}")
    confidence = describe_confidence(model, params, temperature, test, num_beams)
    results = {
        name: {unit: errors, "texts right": right} for name, (errors, right) in scores.items()
    }
    write_results(out / "results.json", results | {"confidence": confidence})
    records = {cell_title(model.cell): read_records(out / loop.METRICS)}
    plot_learning_curves(out / "learning_curves.png", records, *LEARNING_CURVE)


def _score(said: list[list[int]], heard: list[list[int]]) -> tuple[float, float]:
    """The errors per label said, and the share of texts without an error."""
    width = max(1, *map(len, said), *map(len, heard))
    both = [pad([[label + 1 for label in row] for row in rows], width) for rows in (said, heard)]
    errors = np.asarray(edit_distances(*both, blank=0))
    return float(errors.sum() / sum(map(len, said))), float((errors == 0).mean())
