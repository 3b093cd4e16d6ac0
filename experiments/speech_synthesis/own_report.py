"""The report of a synthesizer that was trained on the user's recordings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.common.outputs import write_results
from experiments.common.report import format_table
from experiments.common.report.plots import cell_title
from experiments.speech_synthesis.data import letter_ids
from experiments.speech_synthesis.own_recordings import OwnVoice
from experiments.speech_synthesis.report import (
    Baselines,
    acoustic_errors,
    copy_synthesis,
    describe_synthesis,
    draw_plots,
)
from experiments.speech_synthesis.text_to_speech import TextToSpeech

MOST = 100  # test recordings that are compared
DRAWN = 2  # test texts whose speech is written as WAV files


def report_own(
    synthesizer: TextToSpeech, own: OwnVoice, records: Sequence[dict[str, Any]], out: Path
) -> None:
    """Prints how far the test texts are from their recordings; writes results.json and plots.

    Args:
      synthesizer: the network.
      own: the recordings.
      records: the metrics of each epoch of the training.
      out: the folder of the training.
    """
    texts, recorded = (column[:MOST] for column in own.test)
    known, asked = (
        [tuple(letter_ids(text, own.alphabet)) for text in side]
        for side in (own.train.texts, texts)
    )
    baselines = Baselines(known, own.train.audio)
    answers, title = synthesizer(texts), cell_title(synthesizer.model.cell)
    rows = {
        "recording through Griffin–Lim": copy_synthesis(recorded),
        title: [answer.audio for answer in answers],
        "nearest training recording": baselines.nearest(asked),
        "mean frame": baselines.mean_frame(asked),
    }
    errors = {name: acoustic_errors(sounds, recorded) for name, sounds in rows.items()}
    table = [[name, f"{mcd:.2f}", f"{off:.1%}"] for name, (mcd, off) in errors.items()]
    header = [f"{len(texts)} test recordings", "MCD, dB", "duration off"]
    print(f"\n{format_table(header, table)}")
    results = {name: {"MCD in dB": mcd, "duration off": off} for name, (mcd, off) in errors.items()}
    write_results(
        out / "results.json", results | describe_synthesis(synthesizer, texts[0], answers)
    )
    draw_plots(texts[:DRAWN], answers, recorded, ("recording", title), records, out)
