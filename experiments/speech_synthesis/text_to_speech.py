"""A trained synthesizer that turns text into audio, whole or phrase by phrase.

Attention may only stay or move forward, by at most `MAX_LEAP` letters per step, much as in
Tachibana et al. 2017, https://arxiv.org/abs/1710.08969.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common.command import InputError
from experiments.speech.recorded_texts import spoken_text
from experiments.speech.spoken_digits import Standardizer
from experiments.speech_synthesis.audio import RATE, from_log_mel
from experiments.speech_synthesis.data import letter_ids, pad_letters
from experiments.speech_synthesis.model import Step, Synthesizer

MAX_LEAP = 3  # letters by which attention may advance in one step
ITERATIONS = 32  # of Griffin–Lim
EXTRA_STEPS = 16  # of a text, beyond those of its letters
LONGEST_WORD = 20  # letters
PAUSE = 0.15  # seconds between phrases


class Generated(NamedTuple):
    """Frames that a synthesizer generates for B texts in at most T steps."""

    frames: Array  # [B, T·reduction, M]
    steps: Array  # int [B]: up to the one that stops, including it; T if none does
    stopped: Array  # bool [B]
    weights: Array  # [B, T, S], attention


@partial(jax.jit, static_argnames=("model", "num_steps"))
def generate(model: Synthesizer, params: Any, letters: Array, num_steps: int) -> Generated:
    """Generates frames for texts, each step from the frames before it.

    Args:
      model: the network.
      params: its variables.
      letters: int [B, S], padded.
      num_steps: T, the number of steps to run.
    """
    memory = model.apply(params, letters.T, method="encode")
    batch_size, num_letters = letters.shape
    positions = jnp.arange(num_letters)[:, None]

    def step(state: Any, _: None) -> tuple[Any, Step]:
        carry, previous, position = state
        is_near = (positions >= position) & (positions <= position + MAX_LEAP)
        allowed = memory.valid & is_near
        carry, made = model.apply(params, memory, carry, previous[None], allowed, method="decode")
        made = jax.tree.map(lambda array: array[0], made)
        return (carry, made.frames[:, -1], made.weights.argmax(-1)), made

    carry = model.apply(params, batch_size, num_steps, method="start")
    state = (carry, jnp.zeros((batch_size, model.num_mels)), jnp.zeros(batch_size, int))
    _, made = jax.lax.scan(step, state, length=num_steps)
    stops = made.stop > 0
    stopped = stops.any(0)
    steps = jnp.where(stopped, stops.argmax(0) + 1, num_steps)
    frames = made.frames.swapaxes(0, 1).reshape(batch_size, -1, model.num_mels)
    return Generated(frames, steps, stopped, made.weights.swapaxes(0, 1))


class SpokenText(NamedTuple):
    """The speech generated for one text."""

    audio: np.ndarray  # [N]
    stopped: bool  # whether the network found the end
    weights: np.ndarray  # [T, S], attention


class TextToSpeech(NamedTuple):
    """A trained synthesizer."""

    model: Synthesizer
    params: Any
    standardizer: Standardizer  # of log mel frames
    alphabet: str
    longest: int  # letters of a phrase, as many as the longest training text has
    steps_per_letter: int  # the limit for a text, beside `EXTRA_STEPS`

    def __call__(self, texts: Sequence[str]) -> list[SpokenText]:
        """Speaks texts, each as a whole.

        Raises:
          InputError: as `letter_ids`.
        """
        letters = [letter_ids(text, self.alphabet) for text in texts]
        padded = pad_letters(letters)
        num_steps = self.steps_per_letter * padded.shape[1] + EXTRA_STEPS
        generated = generate(self.model, self.params, jnp.asarray(padded), num_steps)
        frames = self.standardizer.restore(np.asarray(generated.frames))
        spoken = []
        for i, row in enumerate(letters):
            steps = int(generated.steps[i])
            audio = from_log_mel(frames[i, : steps * self.model.reduction], ITERATIONS)
            weights = np.asarray(generated.weights[i, :steps, : len(row)])
            spoken.append(SpokenText(audio, bool(generated.stopped[i]), weights))
        return spoken

    def say(self, text: str) -> tuple[np.ndarray, bool]:
        """Speaks a text of any length in phrases no longer than the training texts.

        Returns: the audio [N], and whether the network found the end of every phrase.

        Raises:
          InputError: as `letter_ids` and `split_phrases`.
        """
        letter_ids(text, self.alphabet)  # refuses what cannot be spoken
        spoken = self(split_phrases(spoken_text(text), self.longest))
        pause = np.zeros(round(PAUSE * RATE), np.float32)
        parts = [part for phrase in spoken for part in (pause, phrase.audio)][1:]
        return np.concatenate(parts), all(phrase.stopped for phrase in spoken)

    def real_time_factor(self, text: str) -> float:
        """Seconds of computation per second of audio, without compilation."""
        self.say(text)
        start = time.perf_counter()
        audio, _ = self.say(text)
        return (time.perf_counter() - start) / (len(audio) / RATE)


def split_phrases(text: str, longest: int) -> list[str]:
    """Splits a text between words into phrases of at most `longest` letters, including spaces.

    Raises:
      InputError: a word is too long.
    """
    phrases: list[str] = []
    for word in text.split():
        if len(word) > LONGEST_WORD:
            raise InputError(
                f"The word that begins with {word[:LONGEST_WORD]!r} has {len(word)} letters; a "
                f"word may have at most {LONGEST_WORD}."
            )
        if phrases and len(phrases[-1]) + 1 + len(word) <= longest:
            phrases[-1] += f" {word}"
        else:
            phrases.append(word)
    return phrases
