"""The report of `experiments.speech_synthesis`: the network compared with baselines."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.common.outputs import write_results
from experiments.common.report import format_table, plots
from experiments.common.report.counts import count
from experiments.common.report.heat_maps import plot_alignment
from experiments.common.report.plots import cell_title
from experiments.speech.scores import edit_distances, score_strings
from experiments.speech_synthesis.audio import (
    HOP,
    RATE,
    cepstra,
    from_log_mel,
    log_mel,
    mel_cepstral_distortion,
    write_wav,
)
from experiments.speech_synthesis.data import Digits, pad_digits, spell
from experiments.speech_synthesis.listener import Listener
from experiments.speech_synthesis.plots import plot_spectrograms
from experiments.speech_synthesis.text_to_speech import ITERATIONS, SpokenText, TextToSpeech

Audio = Sequence[np.ndarray]
LONGEST_NAME = 60  # characters of a text that name its file
LONGER = 8, 10  # the fewest and the most digits of the strings longer than in training


class Baselines(NamedTuple):
    """Ways to speak with the training audio alone, without a network."""

    labels: Sequence[Digits]  # the digits of each text, or its letters
    audio: Audio

    def nearest(self, labels: Sequence[Digits]) -> Audio:
        """For each text, the audio of the training text at the smallest edit distance."""
        known, asked = (jnp.asarray(pad_digits(side)) for side in (self.labels, labels))
        distances = [edit_distances(jnp.tile(row, (len(known), 1)), known, -1) for row in asked]
        return [self.audio[int(row.argmin())] for row in distances]

    def joined(self, digits: Sequence[Digits]) -> Audio:
        """The concatenated audio of each string's single digits, which come first, in order."""
        return [np.concatenate([self.audio[digit] for digit in string]) for string in digits]

    def mean_frame(self, labels: Sequence[Digits]) -> Audio:
        """The mean frame of the training audio, for the mean duration of so many labels."""
        samples_per_label = sum(map(len, self.audio)) / sum(map(len, self.labels))
        frame = np.concatenate([log_mel(audio) for audio in self.audio]).mean(0)
        lengths = [round(samples_per_label * len(row)) for row in labels]
        audio = from_log_mel(np.tile(frame, (max(lengths) // HOP + 2, 1)), ITERATIONS)
        return [audio[:length] for length in lengths]


def copy_synthesis(audio: Audio) -> Audio:
    """Reconstructs audio from its mel frames by Griffin–Lim: the best that a synthesizer can do."""
    return [from_log_mel(log_mel(sound), ITERATIONS) for sound in audio]


def write_report(
    synthesizer: TextToSpeech,
    listener: Listener,
    baselines: Baselines,
    say: Callable[[Sequence[Digits]], Audio],
    digits: Sequence[Digits],
    records: Sequence[dict[str, Any]],
    out: Path,
) -> None:
    """Prints how well the test strings are spoken, and writes results.json and plots to `out`.

    Args:
      synthesizer: the network.
      listener: the recognizer that judges the speech.
      baselines: ways to speak without a network.
      say: the teacher.
      digits: the test strings; longer ones, a quarter as many, are also drawn.
      records: the metrics of each epoch of the synthesizer's training.
      out: the folder.
    """
    spoken = say([*digits, *digits])  # twice: the teacher's voice is not quite regular
    teacher, title = spoken[: len(digits)], cell_title(synthesizer.model.cell)
    answers = synthesizer([spell(string) for string in digits])
    rows = {
        "teacher": teacher,
        "teacher, once more": spoken[len(digits) :],
        "teacher through Griffin–Lim": copy_synthesis(teacher),
        title: [answer.audio for answer in answers],
        "single digits joined": baselines.joined(digits),
        "nearest training string": baselines.nearest(digits),
        "mean frame": baselines.mean_frame(digits),
    }
    results: dict[str, Any] = {"test": compare(rows, teacher, digits, listener)}
    results["longer"] = compare_longer(synthesizer, listener, say, len(digits) // 4 + 1)
    results |= describe_synthesis(synthesizer, spell(digits[0]), answers)
    write_results(out / "results.json", results)
    drawn = [spell(string) for string in digits[:2]]
    draw_plots(drawn, answers, teacher, ("teacher", title), records, out)


def describe_synthesis(
    synthesizer: TextToSpeech, text: str, answers: Sequence[SpokenText]
) -> dict[str, Any]:
    """Prints how many answers have no end, and how fast a text is spoken; also as JSON values."""
    num_endless = sum(not answer.stopped for answer in answers)
    factor = synthesizer.real_time_factor(text)
    print(f"\nThe network found no end in {num_endless} of {count(len(answers), 'text')}.")
    print(f"Synthesis takes {factor:.2f} seconds per second of speech.")
    return {"strings without an end": num_endless, "seconds a second": factor}


def compare_longer(
    synthesizer: TextToSpeech,
    listener: Listener,
    say: Callable[[Sequence[Digits]], Audio],
    count: int,
) -> dict[str, dict[str, Any]]:
    """Compares on `count` strings that are longer than those of the training."""
    rng = np.random.default_rng(0)
    digits = [
        tuple(rng.integers(0, 10, rng.integers(LONGER[0], LONGER[1] + 1)).tolist())
        for _ in range(count)
    ]
    texts = [spell(string) for string in digits]
    teacher = say(digits)
    title = cell_title(synthesizer.model.cell)
    rows = {
        "teacher": teacher,
        f"{title}, as a whole": [answer.audio for answer in synthesizer(texts)],
        f"{title}, in phrases": [synthesizer.say(text)[0] for text in texts],
    }
    return compare(rows, teacher, digits, listener)


def compare(
    rows: Mapping[str, Audio], teacher: Audio, digits: Sequence[Digits], listener: Listener
) -> dict[str, dict[str, Any]]:
    """Prints how far each voice is from the teacher, and what the listener recognizes.

    Args:
      rows: each voice's audio of each string, by name.
      teacher: the teacher's audio.
      digits: the strings.
      listener: the recognizer.

    Returns: the figures as JSON values.
    """
    said = pad_digits(digits)
    results, table = {}, []
    for name, sounds in rows.items():
        distortion, duration_error = acoustic_errors(sounds, teacher)
        score = score_strings(said, listener(sounds))
        results[name] = {
            "MCD in dB": distortion,
            "digit errors": score.error_rate,
            "strings right": score.strings_right,
            "duration off": duration_error,
        }
        shares = (score.error_rate, score.strings_right, duration_error)
        table.append([name, f"{distortion:.2f}", *(f"{share:.1%}" for share in shares)])
    header = ["MCD, dB", "digit errors", "strings right", "duration off"]
    print(f"\n{format_table([f'{len(digits)} strings', *header], table)}")
    return results


def acoustic_errors(sounds: Audio, originals: Audio) -> tuple[float, float]:
    """The mean mel-cepstral distortion in dB, and the mean relative error of the duration."""
    pairs = list(zip(sounds, originals, strict=True))
    distortions = [mel_cepstral_distortion(*map(cepstra, pair)) for pair in pairs]
    durations = [abs(len(sound) / len(original) - 1) for sound, original in pairs]
    return float(np.mean(distortions)), float(np.mean(durations))


def draw_plots(
    texts: Sequence[str],
    answers: Sequence[SpokenText],
    originals: Audio,
    names: tuple[str, str],
    records: Sequence[dict[str, Any]],
    out: Path,
) -> None:
    """Draws the training, the attention of some texts and a spectrogram; writes them as WAV files.

    Args:
      texts: the first of those that were spoken.
      answers: what the network spoke.
      originals: what was recorded.
      names: of the originals, and of the network.
      records: the metrics of each epoch of the training.
      out: the folder.
    """
    maps = []
    for text, answer, original in zip(texts, answers, originals, strict=False):
        name = text[:LONGEST_NAME].replace(" ", "-")
        write_wav(out / f"{name}.wav", answer.audio)
        write_wav(out / f"{name}.{names[0]}.wav", original)
        num_steps = len(answer.weights)
        seconds = len(answer.audio) / RATE * np.arange(num_steps) / num_steps
        maps.append((list(text), [f"{second:.2f}" for second in seconds], answer.weights))
    written = "time in the speech, seconds"
    plot_alignment(out / "attention.png", maps, read="letter", written=written)
    both = dict(zip(names, (originals[0], answers[0].audio), strict=True))
    plot_spectrograms(out / "spectrograms.png", texts[0], both)
    loss = "distance and square of frames, stop, attention"
    label = "validation loss: distance of frames and stop"
    metric = plots.Curve("validation_score", label, is_negated=True)
    curves = {"synthesizer": records}
    plots.plot_learning_curves(out / "learning_curves.png", curves, loss, metric)
