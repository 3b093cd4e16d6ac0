"""The report of `experiments.speech_synthesis`: the network compared with baselines."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.common.outputs import write_results
from experiments.common.report import format_table, plots
from experiments.common.report.heat_maps import plot_alignment
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
from experiments.speech_synthesis.data import ALPHABET, Digits, letter_ids, pad_digits, spell
from experiments.speech_synthesis.listener import Listener
from experiments.speech_synthesis.plots import plot_spectrograms
from experiments.speech_synthesis.text_to_speech import ITERATIONS, SpokenText, TextToSpeech

Audio = Sequence[np.ndarray]
LONGER = 8, 10  # the fewest and the most digits of the strings longer than in training


class Baselines(NamedTuple):
    """Ways to speak with the training audio alone, without a network."""

    digits: Sequence[Digits]  # the ten single digits come first, in order
    audio: Audio

    def nearest(self, digits: Sequence[Digits]) -> Audio:
        """For each string, the audio of the training string at the smallest edit distance."""
        known, asked = (jnp.asarray(pad_digits(side)) for side in (self.digits, digits))
        distances = [edit_distances(jnp.tile(row, (len(known), 1)), known, -1) for row in asked]
        return [self.audio[int(row.argmin())] for row in distances]

    def joined(self, digits: Sequence[Digits]) -> Audio:
        """The concatenated audio of each string's single digits."""
        return [np.concatenate([self.audio[digit] for digit in string]) for string in digits]

    def mean_frame(self, digits: Sequence[Digits]) -> Audio:
        """The mean frame of the training audio, for the mean duration of so many digits."""
        samples_per_digit = sum(map(len, self.audio)) / sum(map(len, self.digits))
        frame = np.concatenate([log_mel(audio) for audio in self.audio]).mean(0)
        lengths = [round(samples_per_digit * len(string)) for string in digits]
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
    teacher = spoken[: len(digits)]
    answers = synthesizer([spell(string) for string in digits])
    rows = {
        "teacher": teacher,
        "teacher, once more": spoken[len(digits) :],
        "teacher through Griffin–Lim": copy_synthesis(teacher),
        "GRU": [answer.audio for answer in answers],
        "single digits joined": baselines.joined(digits),
        "nearest training string": baselines.nearest(digits),
        "mean frame": baselines.mean_frame(digits),
    }
    results: dict[str, Any] = {"test": compare(rows, teacher, digits, listener)}
    results["longer"] = compare_longer(synthesizer, listener, say, len(digits) // 4 + 1)
    num_endless = sum(not answer.stopped for answer in answers)
    factor = synthesizer.real_time_factor(spell(digits[0]))
    results |= {"strings without an end": num_endless, "seconds a second": factor}
    print(f"\nThe network found no end in {num_endless} of {len(digits)} strings.")
    print(f"Synthesis takes {factor:.2f} seconds per second of speech.")
    write_results(out / "results.json", results)
    draw_plots(digits, answers, teacher, out)
    curves = {"synthesizer": records}
    loss = "distance and square of frames, stop, attention"
    label = "validation loss: distance of frames and stop"
    metric = plots.Curve("validation_score", label, is_negated=True)
    plots.plot_learning_curves(out / "learning_curves.png", curves, loss, metric)


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
    rows = {
        "teacher": teacher,
        "GRU, as a whole": [answer.audio for answer in synthesizer(texts)],
        "GRU, in phrases": [synthesizer.say(text)[0] for text in texts],
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
    targets, said = [cepstra(audio) for audio in teacher], pad_digits(digits)
    results, table = {}, []
    for name, sounds in rows.items():
        pairs = zip(sounds, targets, strict=True)
        distortions = [mel_cepstral_distortion(cepstra(audio), target) for audio, target in pairs]
        distortion = float(np.mean(distortions))
        lengths = np.array([[len(sound) for sound in side] for side in (sounds, teacher)])
        duration_error = float(np.abs(lengths[0] / lengths[1] - 1).mean())
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


def draw_plots(
    digits: Sequence[Digits], answers: Sequence[SpokenText], teacher: Audio, out: Path
) -> None:
    """Draws the attention of two strings and the spectrograms of one; writes both as WAV files."""
    maps = []
    for string, answer, original in list(zip(digits, answers, teacher, strict=True))[:2]:
        name = spell(string).replace(" ", "-")
        write_wav(out / f"{name}.wav", answer.audio)
        write_wav(out / f"{name}.teacher.wav", original)
        num_steps = len(answer.weights)
        seconds = len(answer.audio) / RATE * np.arange(num_steps) / num_steps
        letters = [ALPHABET[letter - 1] for letter in letter_ids(spell(string))]
        maps.append((letters, [f"{second:.2f}" for second in seconds], answer.weights))
    written = "time in the speech, seconds"
    plot_alignment(out / "attention.png", maps, read="letter", written=written)
    both = {"teacher": teacher[0], "GRU": answers[0].audio}
    plot_spectrograms(out / "spectrograms.png", spell(digits[0]), both)
