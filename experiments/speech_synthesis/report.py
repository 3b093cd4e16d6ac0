"""The report of `experiments.speech_synthesis`: ways to say the same strings, side by side."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.common.report import format_table, plots
from experiments.common.training.loop import METRICS
from experiments.common.training.metrics import read_records
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
from experiments.speech_synthesis.digit_speech import ALPHABET, Digits, as_text, to_letters
from experiments.speech_synthesis.listener import Listener, pad_digits
from experiments.speech_synthesis.plots import plot_spectrograms
from experiments.speech_synthesis.speaker import ITERATIONS, Sound, Speaker

Audio = Sequence[np.ndarray]
SYNTHESISER, LISTENER = "synthesiser", "listener"  # their folders
LONGER = 8, 10  # digits of the strings longer than in training, the least and the most


class Baselines(NamedTuple):
    """What the training strings and their audio say without a network."""

    texts: Sequence[Digits]  # all single digits come first, in order
    audio: Audio

    def nearest(self, texts: Sequence[Digits]) -> Audio:
        """For each string the audio of the training string with the fewest other digits."""
        known, asked = (jnp.asarray(pad_digits(side)) for side in (self.texts, texts))
        found = [edit_distances(jnp.tile(row, (len(known), 1)), known, -1) for row in asked]
        return [self.audio[int(distances.argmin())] for distances in found]

    def joined(self, texts: Sequence[Digits]) -> Audio:
        """The audio of single digits, one after the other."""
        return [np.concatenate([self.audio[digit] for digit in digits]) for digits in texts]

    def mean_frame(self, texts: Sequence[Digits]) -> Audio:
        """The mean frame of the training audio, for the mean time of so many digits."""
        each = sum(map(len, self.audio)) / sum(map(len, self.texts))
        frame = np.concatenate([log_mel(audio) for audio in self.audio]).mean(0)
        lengths = [round(each * len(digits)) for digits in texts]
        audio = from_log_mel(np.tile(frame, (max(lengths) // HOP + 2, 1)), ITERATIONS)
        return [audio[:length] for length in lengths]


def copy_synthesis(audio: Audio) -> Audio:
    """The same audio by way of its mel frames and Griffin–Lim: all that a synthesiser can reach."""
    return [from_log_mel(log_mel(sound), ITERATIONS) for sound in audio]


def write_report(
    speaker: Speaker,
    listener: Listener,
    baselines: Baselines,
    say: Callable[[Sequence[Digits]], Audio],
    texts: Sequence[Digits],
    out: Path,
) -> None:
    """Prints how the test strings are said, and writes results.json and plots to `out`.

    Args:
      speaker: the network.
      listener: hears what is said.
      baselines: of the training strings.
      say: the teacher.
      texts: the test strings; a quarter as many longer ones are drawn besides.
      out: the folder, in which the network's training has one.
    """
    spoken = say([*texts, *texts])  # twice: the voice is not quite regular
    teacher = spoken[: len(texts)]
    sounds = speaker([as_text(digits) for digits in texts])
    rows = {
        "teacher": teacher,
        "teacher, once more": spoken[len(texts) :],
        "teacher through Griffin–Lim": copy_synthesis(teacher),
        "GRU": [sound.audio for sound in sounds],
        "single digits joined": baselines.joined(texts),
        "nearest training string": baselines.nearest(texts),
        "mean frame": baselines.mean_frame(texts),
    }
    results: dict[str, Any] = {"test": compare(rows, teacher, texts, listener)}
    results["longer"] = compare_longer(speaker, listener, say, len(texts) // 4 + 1)
    results["strings without an end"] = sum(not sound.stopped for sound in sounds)
    results["seconds a second"] = speaker.seconds_a_second(as_text(texts[0]))
    print(
        f"\n{results['strings without an end']} of {len(texts)} strings found no end. A second of "
        f"speech takes {results['seconds a second']:.2f} seconds."
    )
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    draw_plots(texts, sounds, teacher, out)
    curves = {SYNTHESISER: read_records(out / SYNTHESISER / METRICS)}
    plots.plot_learning_curves(out / "learning_curves.png", curves, "validation_score")


def compare_longer(
    speaker: Speaker,
    listener: Listener,
    say: Callable[[Sequence[Digits]], Audio],
    count: int,
) -> dict[str, dict[str, Any]]:
    """The comparison on strings that are longer than those of the training."""
    rng = np.random.default_rng(0)
    texts = [
        tuple(rng.integers(0, 10, rng.integers(LONGER[0], LONGER[1] + 1)).tolist())
        for _ in range(count)
    ]
    teacher = say(texts)
    rows = {
        "teacher": teacher,
        "GRU, as a whole": [sound.audio for sound in speaker([as_text(row) for row in texts])],
        "GRU, in phrases": [speaker.say(as_text(row))[0] for row in texts],
    }
    return compare(rows, teacher, texts, listener)


def compare(
    rows: Mapping[str, Audio], teacher: Audio, texts: Sequence[Digits], listener: Listener
) -> dict[str, dict[str, Any]]:
    """Prints how far each way to say the texts is from the teacher, and what a listener hears.

    Args:
      rows: audio of each text, by the name of what says it.
      teacher: the teacher's.
      texts: the digits.
      listener: who hears them.

    Returns: the figures as JSON values.
    """
    goal, said = [cepstra(audio) for audio in teacher], pad_digits(texts)
    results, table = {}, []
    for name, sounds in rows.items():
        pairs = zip(sounds, goal, strict=True)
        distance = np.mean(
            [mel_cepstral_distortion(cepstra(audio), other) for audio, other in pairs]
        )
        lengths = np.array([[len(sound) for sound in side] for side in (sounds, teacher)])
        off = np.abs(lengths[0] / lengths[1] - 1).mean()
        score = score_strings(said, listener(sounds))
        results[name] = {
            "MCD in dB": float(distance),
            "digit errors": score.error_rate,
            "strings right": score.strings_right,
            "duration off": float(off),
        }
        shares = (score.error_rate, score.strings_right, off)
        table.append([name, f"{distance:.2f}", *(f"{share:.1%}" for share in shares)])
    header = ["MCD, dB", "digit errors", "strings right", "duration off"]
    print(f"\n{format_table([f'{len(texts)} strings', *header], table)}")
    return results


def draw_plots(texts: Sequence[Digits], sounds: Sequence[Sound], teacher: Audio, out: Path) -> None:
    """Draws what the network looked at in two strings, and the spectrograms of one; writes how
    teacher and network say these two."""
    maps = []
    for text, sound, other in list(zip(texts, sounds, teacher, strict=True))[:2]:
        name = as_text(text).replace(" ", "-")
        write_wav(out / f"{name}.wav", sound.audio)
        write_wav(out / f"{name}.teacher.wav", other)
        seconds = len(sound.audio) / RATE * np.arange(len(sound.weights)) / len(sound.weights)
        letters = [ALPHABET[letter - 1] for letter in to_letters(as_text(text))]
        maps.append((letters, [f"{second:.2f}" for second in seconds], sound.weights))
    plots.plot_alignment(out / "attention.png", maps, written="seconds")
    both = {"teacher": teacher[0], "GRU": sounds[0].audio}
    plot_spectrograms(out / "spectrograms.png", as_text(texts[0]), both)
