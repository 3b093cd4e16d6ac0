"""The report of `experiments.speech_recognition`: networks on single digits and on strings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common.confidence import confidence_error
from experiments.common.outputs import write_results
from experiments.common.report import format_table
from experiments.common.report.counts import count
from experiments.common.report.plots import plot_learning_curves
from experiments.common.training import loop
from experiments.common.training.metrics import read_records
from experiments.speech import ctc
from experiments.speech.digit_strings import DigitStrings
from experiments.speech.recognizer import (
    Recognizer,
    label_log_probs,
    milliseconds_per_frame,
    recognition_delays,
)
from experiments.speech.scores import (
    Score,
    error_rate_interval,
    error_rates_by_length,
    score_strings,
)
from experiments.speech.spoken_digits import Corpus, Utterances
from experiments.speech_recognition.baselines import nearest_neighbor, support_vector_machine
from experiments.speech_recognition.examples import Examples
from experiments.speech_recognition.plots import (
    LEARNING_CURVE,
    plot_errors_by_length,
    plot_posteriorgram,
)

Networks = Mapping[str, tuple[Recognizer, Any]]  # by name, with their parameters
NUM_CONFUSIONS = 5  # shown for each way to decode
NEAREST = "nearest neighbor, time warped"
KEYS = {NEAREST: "nearest neighbour, time warped"}  # in results.json, as in version 0.1


class Recognition(NamedTuple):
    """How a network decodes N strings."""

    log_probs: np.ndarray  # [N, T, 11]
    steps: np.ndarray  # [N]
    best_path: ctc.Decoded
    beam_search: ctc.Decoded


def recognize_strings(
    model: Recognizer,
    params: Any,
    frames: np.ndarray,
    lengths: np.ndarray,
    num_beams: int,
    temperature: float = 1.0,
) -> Recognition:
    """Recognizes frames [N, T, C] with `lengths` [N], by best path and by beam search.

    The logits of the frames are divided by the temperature, see `fit_ctc_temperature`.
    """
    log_probs = label_log_probs(model, params, frames, lengths)
    if temperature != 1:
        log_probs = jax.nn.log_softmax(log_probs / temperature)
    steps = lengths // model.stride
    best_path = ctc.decode_greedy(log_probs, steps)
    beam_search = ctc.prefix_beam_search(log_probs, steps, num_beams)
    return Recognition(np.asarray(log_probs), steps, best_path, beam_search)


def to_digits(decoded: ctc.Decoded) -> list[list[int]]:
    """The digits that the labels stand for."""
    return [[label - 1 for label in row] for row in decoded.to_lists()]


def write_report(
    networks: Networks,
    corpus: Corpus,
    strings: DigitStrings,
    temperature: float,
    num_beams: int,
    out: Path,
) -> None:
    """Prints the results on the test set, and writes results.json and plots to `out`.

    Args:
      networks: the last one can recognize streams.
      corpus: the utterances.
      strings: joined from the test utterances.
      temperature: of the first network, fitted to validation strings.
      num_beams: the beams of the prefix beam search.
      out: the folder; each network was trained in the subfolder of its name.
    """
    single = single_digit_accuracies(networks, corpus.train, corpus.test)
    rows = [[name, f"{accuracy:.1%}"] for name, accuracy in single.items()]
    print(f"\n{format_table([f'{len(corpus.test.digits)} single digits', 'right'], rows)}")

    recognitions = {
        name: recognize_strings(*network, strings.frames, strings.lengths, num_beams)
        for name, network in networks.items()
    }
    scores = {}
    for name, recognition in recognitions.items():
        for search, decoded in (
            ("best path", recognition.best_path),
            (f"{num_beams} beams", recognition.beam_search),
        ):
            scores[f"{name}, {search}"] = score_strings(strings.digits, to_digits(decoded))
    table = compare_strings(scores, strings)
    name = list(networks)[-1]
    stream = describe_stream(*networks[name], recognitions[name].best_path, strings)
    tested = Examples(strings.frames, strings.lengths, strings.digits)
    first = next(iter(networks.values()))
    confidence = describe_confidence(*first, temperature, tested, num_beams)
    single = {KEYS.get(name, name): accuracy for name, accuracy in single.items()}
    results = {
        "single digits": single,
        "strings": table,
        "stream": stream,
        "confidence": confidence,
    }
    write_results(out / "results.json", results)
    draw_plots(networks, recognitions, scores, strings, out)


def single_digit_accuracies(
    networks: Networks, train: Utterances, test: Utterances
) -> dict[str, float]:
    """The share of single utterances recognized. A network must recognize exactly that digit."""
    answers: dict[str, np.ndarray] = {
        NEAREST: nearest_neighbor(train, test),
        "support vector machine": support_vector_machine(train, test),
    }
    right = {name: float((answer == test.digits).mean()) for name, answer in answers.items()}
    for name, (model, params) in networks.items():
        log_probs = label_log_probs(model, params, test.frames, test.lengths)
        rows = to_digits(ctc.decode_greedy(log_probs, test.lengths // model.stride))
        said = [[digit] for digit in test.digits.tolist()]
        right[name] = float(np.mean([one == other for one, other in zip(rows, said, strict=True)]))
    return right


def compare_strings(
    scores: Mapping[str, Score], strings: DigitStrings
) -> dict[str, dict[str, Any]]:
    """Prints the score of each way to decode the strings. Returns: the scores as JSON values."""
    table, rows = {}, []
    for name, score in scores.items():
        low, high = error_rate_interval(score, strings.utterances)
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
        common = score.confusions.most_common(NUM_CONFUSIONS)
        named = ", ".join(
            f"{said} as {heard} {count(number, 'time')}" for (said, heard), number in common
        )
        print(f"Most frequent errors of {name}: {named or 'none'}")
    return table


def describe_confidence(
    model: Recognizer,
    params: Any,
    temperature: float,
    examples: Examples,
    num_beams: int,
) -> dict[str, float]:
    """Prints the calibration error of the confidence in whole strings, and returns it.

    Args:
      model, params: the network.
      temperature: fitted to validation strings.
      examples: of the test.
      num_beams: the beams of the prefix beam search.
    """
    errors = {}
    said = [row[row >= 0].tolist() for row in np.asarray(examples.labels)]
    for name, value in (("before", 1.0), ("after", temperature)):
        inputs = (examples.frames, examples.lengths, num_beams, value)
        decoded = recognize_strings(model, params, *inputs).beam_search
        heard = to_digits(decoded)
        right = np.array([one == other for one, other in zip(heard, said, strict=True)])
        errors[name] = confidence_error(np.exp(np.asarray(decoded.scores)), right)
    print(
        f"\nConfidence in whole strings: calibration error {errors['before']:.1%} before and "
        f"{errors['after']:.1%} after temperature scaling (T = {temperature:.2f})"
    )
    return {"temperature": temperature} | {f"error {name}": x for name, x in errors.items()}


def describe_stream(
    model: Recognizer, params: Any, best_path: ctc.Decoded, strings: DigitStrings
) -> dict[str, float]:
    """Prints the speed and the delay of a network that recognizes a stream. Returns: both."""
    longest = int(strings.lengths.argmax())
    frames = strings.frames[longest, : strings.lengths[longest]]
    milliseconds = milliseconds_per_frame(model, params, frames)
    figures = {"milliseconds a frame": milliseconds}
    print(f"\nStreaming: {milliseconds:.2f} milliseconds per frame")
    delays = recognition_delays(best_path, strings, model.stride)
    if len(delays):
        median, late = float(np.median(delays)), float(np.percentile(delays, 95))
        figures["frames from a digit's end until it is heard, median"] = median
        figures["the same, 95th percentile"] = late
        print(
            f"Frames from the end of a digit until it is recognized: median {median:.2f}, "
            f"95th percentile {late:.2f}"
        )
    return figures


def draw_plots(
    networks: Networks,
    recognitions: Mapping[str, Recognition],
    scores: Mapping[str, Score],
    strings: DigitStrings,
    out: Path,
) -> None:
    """Draws the label probabilities of one string, errors by length, and the learning curves."""
    row = int((strings.digits >= 0).sum(1).argmax())  # a string with the most digits
    said = strings.digits[row][strings.digits[row] >= 0]
    panels = [
        (name, np.exp(log_probs[row, : steps[row]]), np.asarray(best_path.labels)[row])
        for name, (log_probs, steps, best_path, _) in recognitions.items()
    ]
    strides = [model.stride for model, _ in networks.values()]
    ends = strings.ends[row][: len(said)]
    plot_posteriorgram(out / "posteriorgram.png", panels, strides, said, ends)
    rates = {
        name: error_rates_by_length(score, strings.utterances) for name, score in scores.items()
    }
    plot_errors_by_length(out / "errors_by_length.png", rates)
    records = {name: read_records(out / name / loop.METRICS) for name in networks}
    plot_learning_curves(out / "learning_curves.png", records, *LEARNING_CURVE)
