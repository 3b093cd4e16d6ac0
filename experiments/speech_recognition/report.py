"""The report of `experiments.speech_recognition`: networks on single digits and on strings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.common.report import format_table
from experiments.common.report.plots import plot_learning_curves
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.speech import ctc
from experiments.speech.digit_strings import Strings
from experiments.speech.recognizer import Recogniser, delays, hear, milliseconds_a_frame
from experiments.speech.scores import Score, interval, score_strings
from experiments.speech.spoken_digits import Corpus, Utterances
from experiments.speech_recognition.isolated_digits import nearest_neighbour, support_vectors
from experiments.speech_recognition.plots import plot_errors_by_length, plot_posteriorgram

Networks = Mapping[str, tuple[Recogniser, Any]]  # by name, with their parameters
SHOWN = 5  # mistakes


class Heard(NamedTuple):
    """What a network makes of N strings."""

    log_probs: np.ndarray  # [N, T, 11]
    steps: np.ndarray  # [N]
    path: ctc.Decoded  # by best path
    beams: ctc.Decoded  # by beam search


def hear_strings(
    model: Recogniser, params: Any, frames: np.ndarray, lengths: np.ndarray, num_beams: int
) -> Heard:
    """Hears frames [N, T, C], of which `lengths` [N] exist, and decodes them in both ways."""
    log_probs, steps = hear(model, params, frames, lengths), lengths // model.stride
    path = ctc.greedy(log_probs, steps)
    beams = ctc.prefix_beam_search(log_probs, steps, num_beams)
    return Heard(np.asarray(log_probs), steps, path, beams)


def as_digits(decoded: ctc.Decoded) -> list[list[int]]:
    """Labels as the digits that they stand for."""
    return [[label - 1 for label in row] for row in decoded.rows()]


def write_report(
    networks: Networks, corpus: Corpus, strings: Strings, num_beams: int, out: Path
) -> None:
    """Prints how the networks do on the test set, and writes results.json and plots to `out`.

    Args:
      networks: the last one listens to streams.
      corpus: the utterances.
      strings: of the test utterances.
      num_beams: of the prefix beam search.
      out: the folder, in which each network's training has one of its name.
    """
    single = single_digits(networks, corpus.train, corpus.test)
    rows = [[name, f"{right:.1%}"] for name, right in single.items()]
    print(f"\n{format_table([f'{len(corpus.test.digits)} single digits', 'right'], rows)}")

    heard = {
        name: hear_strings(*network, strings.frames, strings.lengths, num_beams)
        for name, network in networks.items()
    }
    scores = {}
    for name, (_, _, path, beams) in heard.items():
        for search, decoded in (("best path", path), (f"{num_beams} beams", beams)):
            score = score_strings(strings.digits, as_digits(decoded))
            scores[f"{name}, {search}"] = score
    table = compare_strings(scores, strings)
    name = list(networks)[-1]
    stream = describe_stream(*networks[name], heard[name].path, strings)
    results = {"single digits": single, "strings": table, "stream": stream}
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    draw_plots(networks, heard, scores, strings, out)


def single_digits(networks: Networks, train: Utterances, test: Utterances) -> dict[str, float]:
    """The share of single utterances that are recognised. A network must hear just that digit."""
    answers: dict[str, Any] = {
        "nearest neighbour, time warped": nearest_neighbour(train, test),
        "support vector machine": support_vectors(train, test),
    }
    right = {name: float((given == test.digits).mean()) for name, given in answers.items()}
    for name, (model, params) in networks.items():
        log_probs = hear(model, params, test.frames, test.lengths)
        rows = as_digits(ctc.greedy(log_probs, test.lengths // model.stride))
        said = [[digit] for digit in test.digits.tolist()]
        right[name] = float(np.mean([one == other for one, other in zip(rows, said, strict=True)]))
    return right


def compare_strings(scores: Mapping[str, Score], strings: Strings) -> dict[str, dict[str, Any]]:
    """Prints the scores of each way to hear the strings. Returns: them as JSON values."""
    table, rows = {}, []
    for name, score in scores.items():
        low, high = interval(score, strings.utterances)
        table[name] = {
            "digit errors": score.error_rate,
            "95% interval": [low, high],
            "strings right": score.strings_right,
        }
        errors, right = f"{score.error_rate:.2%}", f"{score.strings_right:.1%}"
        rows.append([name, errors, f"{low:.2%} to {high:.2%}", right])
    header = [f"{len(strings.lengths)} strings", "digit errors", "95% interval", "strings right"]
    print(f"\n{format_table(header, rows)}\n")
    for name, score in scores.items():
        common = score.mistakes.most_common(SHOWN)
        named = ", ".join(f"{said} as {heard} {count} times" for (said, heard), count in common)
        print(f"{name} mostly hears wrongly: {named or 'nothing'}")
    return table


def describe_stream(
    model: Recogniser, params: Any, path: ctc.Decoded, strings: Strings
) -> dict[str, float]:
    """Prints how quick a network is that listens frame by frame. Returns: the figures."""
    longest = int(strings.lengths.argmax())
    frames = strings.frames[longest, : strings.lengths[longest]]
    late = delays(path, strings, model.stride)
    figures = {"milliseconds a frame": milliseconds_a_frame(model, params, frames)}
    if len(late):
        figures["frames from a digit's end until it is heard, median"] = float(np.median(late))
        figures["the same, 95th percentile"] = float(np.percentile(late, 95))
    print("\nStreaming: " + "; ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    return figures


def draw_plots(
    networks: Networks,
    heard: Mapping[str, Heard],
    scores: Mapping[str, Score],
    strings: Strings,
    out: Path,
) -> None:
    """Draws a string as the networks hear it, errors by length, and the learning curves."""
    first = int((strings.digits >= 0).sum(1).argmax())  # of those with most digits
    said = strings.digits[first][strings.digits[first] >= 0]
    panels = [
        (name, np.exp(log_probs[first, : steps[first]]), np.asarray(path.labels)[first])
        for name, (log_probs, steps, path, _) in heard.items()
    ]
    strides = [model.stride for model, _ in networks.values()]
    ends = strings.ends[first][: len(said)]
    plot_posteriorgram(out / "posteriorgram.png", panels, strides, said, ends)
    lengths = {name: score.by_length() for name, score in scores.items()}
    plot_errors_by_length(out / "errors_by_length.png", lengths)
    records = {name: read_records(out / name / loop.METRICS) for name in networks}
    plot_learning_curves(out / "learning_curves.png", records, "validation_log_likelihood")
