"""A trained synthesiser that speaks: texts as a whole, or long ones phrase by phrase.

Its attention may stay where it is or go on, never back, and skip little, as Tachibana et al. 2017
(https://arxiv.org/abs/1710.08969) make theirs.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.speech.spoken_digits import Scale
from experiments.speech_synthesis.audio import RATE, from_log_mel
from experiments.speech_synthesis.digit_speech import pad_letters, to_letters
from experiments.speech_synthesis.synthesizer import Step, Synthesiser

LEAP = 3  # letters that the attention may go on by in one step
ITERATIONS = 32  # of Griffin–Lim
STEPS_A_LETTER, MORE_STEPS = 4, 16  # that a text may take
LONGEST_WORD = 20  # letters
PAUSE = 0.15  # seconds between phrases


class Spoken(NamedTuple):
    """What a synthesiser says by itself, B texts in T steps."""

    frames: Array  # [B, T·reduction, M]
    steps: Array  # int [B]: those before it stopped, that one included; T if it did not stop
    stopped: Array  # bool [B]
    weights: Array  # [B, T, S]


@partial(jax.jit, static_argnames=("model", "num_steps"))
def synthesise(model: Synthesiser, params: Any, letters: Array, num_steps: int) -> Spoken:
    """Says texts, each frame from those before it.

    Args:
      model: the network.
      params: its variables.
      letters: int [B, S], padded.
      num_steps: T, at most.
    """
    memory = model.apply(params, letters.T, method="encode")
    batch_size, num_letters = letters.shape
    places = jnp.arange(num_letters)[:, None]

    def step(state: Any, _: None) -> tuple[Any, Step]:
        carry, heard, place = state
        near = (places >= place) & (places <= place + LEAP)
        allowed = memory.exists & near
        carry, made = model.apply(params, memory, carry, heard[None], allowed, method="decode")
        return (carry, made.frames[0, :, -1], made.weights[0].argmax(-1)), jax.tree.map(
            lambda array: array[0], made
        )

    carry = model.apply(params, batch_size, method="start")
    state = (carry, jnp.zeros((batch_size, model.num_mels)), jnp.zeros(batch_size, int))
    _, made = jax.lax.scan(step, state, length=num_steps)
    last = made.stop > 0
    stopped = last.any(0)
    steps = jnp.where(stopped, last.argmax(0) + 1, num_steps)
    frames = made.frames.swapaxes(0, 1).reshape(batch_size, -1, model.num_mels)
    return Spoken(frames, steps, stopped, made.weights.swapaxes(0, 1))


class Sound(NamedTuple):
    """How one text is said."""

    audio: np.ndarray  # [N]
    stopped: bool  # whether it found an end
    weights: np.ndarray  # [T, S], of the attention


class Speaker(NamedTuple):
    """A trained synthesiser."""

    model: Synthesiser
    params: Any
    scale: Scale
    longest: int  # letters of a phrase, as many as the longest training text has

    def __call__(self, texts: Sequence[str]) -> list[Sound]:
        """Says texts, each as a whole."""
        letters = [to_letters(text) for text in texts]
        padded = pad_letters(letters)
        num_steps = STEPS_A_LETTER * padded.shape[1] + MORE_STEPS
        said = synthesise(self.model, self.params, jnp.asarray(padded), num_steps)
        frames = self.scale.restored(np.asarray(said.frames))
        sounds = []
        for i, one in enumerate(letters):
            steps = int(said.steps[i])
            audio = from_log_mel(frames[i, : steps * self.model.reduction], ITERATIONS)
            weights = np.asarray(said.weights[i, :steps, : len(one)])
            sounds.append(Sound(audio, bool(said.stopped[i]), weights))
        return sounds

    def say(self, text: str) -> tuple[np.ndarray, bool]:
        """Says a text of any length in phrases no longer than the texts it was trained on.

        Returns: the audio, and whether it found the end of every phrase.

        Raises:
          ValueError: as `phrases`.
        """
        sounds = self(phrases(text, self.longest))
        pause = np.zeros(round(PAUSE * RATE), np.float32)
        parts = [part for sound in sounds for part in (pause, sound.audio)][1:]
        return np.concatenate(parts), all(sound.stopped for sound in sounds)

    def seconds_a_second(self, text: str) -> float:
        """How long it takes to say a text, for each second of it, when the program is compiled."""
        self.say(text)
        start = time.perf_counter()
        audio, _ = self.say(text)
        return (time.perf_counter() - start) / (len(audio) / RATE)


def phrases(text: str, longest: int) -> list[str]:
    """Cuts a text between words into phrases of at most `longest` letters, spaces included.

    Raises:
      ValueError: there is nothing to say, a letter is unknown, or a word is too long.
    """
    to_letters(text)
    found: list[str] = []
    for word in text.split():
        if len(word) > LONGEST_WORD:
            raise ValueError(
                f"The word that begins with {word[:LONGEST_WORD]!r} has {len(word)} letters; a "
                f"word may have {LONGEST_WORD} at most."
            )
        if found and len(found[-1]) + 1 + len(word) <= longest:
            found[-1] += f" {word}"
        else:
            found.append(word)
    return found
