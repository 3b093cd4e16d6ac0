"""The synthesizer and text to speech, against loops over steps and letters."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.speech.spoken_digits import Standardizer
from experiments.speech_synthesis import text_to_speech
from experiments.speech_synthesis.audio import HOP, MELS, RATE
from experiments.speech_synthesis.data import ALPHABET, letter_ids, pad_letters
from experiments.speech_synthesis.model import Synthesizer, guided_attention
from experiments.speech_synthesis.text_to_speech import (
    MAX_LEAP,
    TextToSpeech,
    generate,
    split_phrases,
)

MODEL = Synthesizer(len(ALPHABET) + 1, MELS, 2, 6, 5, 8, 7, 9)
LETTERS = pad_letters(
    [letter_ids(text, ALPHABET) for text in ("one three seven", "two", "nine nine")]
)
FRAMES = np.random.default_rng(0).normal(size=(6, 3, 2, MELS)).astype(np.float32)
PARAMS = jax.tree.map(
    lambda leaf: 2 * leaf, MODEL.init(jax.random.key(0), LETTERS.T, FRAMES, False)
)


@given(
    seed=st.integers(0, 100),
    steps=st.lists(st.integers(1, 5), min_size=2, max_size=2),
    letters=st.lists(st.integers(1, 6), min_size=2, max_size=2),
)
def test_guided_attention_matches_the_loops(seed, steps, letters):
    weights = np.random.default_rng(seed).uniform(size=(5, 2, 6))
    weights *= np.arange(6) < np.array(letters)[:, None]
    found = guided_attention(weights, np.array(letters), np.array(steps), 0.2)
    for row, (T, S) in enumerate(zip(steps, letters, strict=True)):
        total = 0.0
        for t in range(T):
            for s in range(S):
                away = s / S - t / T
                total += weights[t, row, s] * (1 - np.exp(-(away**2) / (2 * 0.2**2)))
        np.testing.assert_allclose(found[row], total / T, rtol=1e-4, atol=1e-6)


def test_teacher_forcing_matches_single_steps():
    whole = MODEL.apply(PARAMS, LETTERS.T, FRAMES, False)
    memory = MODEL.apply(PARAMS, LETTERS.T, method="encode")
    carry = MODEL.apply(PARAMS, 3, len(FRAMES), method="start")
    heard = np.zeros((1, 3, MELS))
    for t in range(len(FRAMES)):
        carry, made = MODEL.apply(PARAMS, memory, carry, heard, memory.valid, method="decode")
        for one, other in zip(made, whole, strict=True):
            np.testing.assert_allclose(one[0], other[t], atol=1e-5)
        heard = FRAMES[t : t + 1, :, -1]


def test_padding_of_letters_changes_nothing():
    longer = np.pad(LETTERS, ((0, 0), (0, 5)))
    short, long = (MODEL.apply(PARAMS, rows.T, FRAMES, False) for rows in (LETTERS, longer))
    np.testing.assert_allclose(short.frames, long.frames, atol=1e-5)
    np.testing.assert_allclose(short.stop, long.stop, atol=1e-5)
    np.testing.assert_allclose(short.weights, long.weights[..., : LETTERS.shape[1]], atol=1e-5)
    assert not long.weights[..., LETTERS.shape[1] :].any()


def test_dropout_applies_in_training_only():
    rngs = [{"dropout": jax.random.key(seed)} for seed in (0, 1)]
    once, again = (MODEL.apply(PARAMS, LETTERS.T, FRAMES, True, rngs=rng).frames for rng in rngs)
    assert np.any(np.asarray(once) != np.asarray(again))


def generate_slowly(letters: np.ndarray, num_steps: int):
    """Generates one text [S] without padding, by a loop."""
    memory = MODEL.apply(PARAMS, letters[:, None], method="encode")
    carry = MODEL.apply(PARAMS, 1, num_steps, method="start")
    decode = jax.jit(partial(MODEL.apply, PARAMS, memory, method="decode"))
    heard, place, frames, weights = np.zeros((1, 1, MELS)), 0, [], []
    for t in range(num_steps):
        allowed = np.array([place <= s <= place + MAX_LEAP for s in range(len(letters))])[:, None]
        carry, made = decode(carry, heard, allowed)
        frames.append(made.frames[0, 0])
        weights.append(made.weights[0, 0])
        if made.stop[0, 0] > 0:
            return np.concatenate(frames), np.array(weights), t + 1, True
        heard, place = made.frames[:, :, -1], int(made.weights[0, 0].argmax())
    return np.concatenate(frames), np.array(weights), num_steps, False


def test_generation_matches_the_loop():
    said = generate(MODEL, PARAMS, jnp.asarray(LETTERS), 12)
    for row in (1, 2):
        letters = LETTERS[row][LETTERS[row] > 0]
        frames, weights, steps, stopped = generate_slowly(letters, 12)
        assert (int(said.steps[row]), bool(said.stopped[row])) == (steps, stopped)
        np.testing.assert_allclose(said.frames[row, : len(frames)], frames, atol=1e-4)
        np.testing.assert_allclose(said.weights[row, :steps, : len(letters)], weights, atol=1e-4)


def test_attention_moves_forward():
    weights = np.asarray(generate(MODEL, PARAMS, jnp.asarray(LETTERS), 12).weights)
    places = weights.argmax(-1)
    assert np.all(places[:, 0] <= MAX_LEAP)
    assert np.all((np.diff(places) >= 0) & (np.diff(places) <= MAX_LEAP))


@given(
    words=st.lists(st.sampled_from(["one", "three", "fffffff"]), min_size=1, max_size=30),
    longest=st.integers(5, 30),
)
def test_phrases_are_the_text_in_pieces(words, longest):
    found = split_phrases("  ".join(words), longest)
    assert " ".join(found).split() == words
    for phrase, after in itertools.pairwise(found):
        assert len(phrase) <= max(longest, 7)
        assert len(f"{phrase} {after.split()[0]}") > longest


def test_a_word_that_is_too_long_is_refused():
    assert split_phrases("o" * 20, 10) == ["o" * 20]
    with pytest.raises(ValueError, match="begins with 'oooooooooooooooooooo' has 21 letters; a"):
        split_phrases("one " + "o" * 21, 10)


def test_a_text_is_spoken_in_phrases_with_pauses(monkeypatch):
    monkeypatch.setattr(text_to_speech, "ITERATIONS", 2)
    standardizer = Standardizer(np.zeros(MELS), np.ones(MELS))
    one = TextToSpeech(MODEL, PARAMS, standardizer, ALPHABET, longest=9, steps_per_letter=4)
    sounds = one(["one three", "two"])
    assert [len(sound.weights[0]) for sound in sounds] == [9, 3]
    for sound in sounds:
        assert len(sound.audio) == (len(sound.weights) * MODEL.reduction - 1) * HOP
    audio, stopped = one.say("one three two")
    pause = round(text_to_speech.PAUSE * RATE)
    first, second = (sound.audio for sound in sounds)
    np.testing.assert_array_equal(audio, np.concatenate([first, np.zeros(pause), second]))
    assert stopped == all(sound.stopped for sound in sounds)
    assert one.real_time_factor("two") > 0
