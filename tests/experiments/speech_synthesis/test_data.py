"""Strings of digits in words: their split, letters, and arrays."""

import numpy as np
import pytest

from experiments.speech.spoken_digits import Standardizer
from experiments.speech_synthesis import data
from experiments.speech_synthesis.audio import log_mel
from experiments.speech_synthesis.data import ALPHABET, letter_ids, spell
from experiments.speech_synthesis.espeak import Voice
from tests.fixtures.synthetic_teacher import speak


def test_no_string_is_in_two_parts():
    texts = data.draw_digits(700, 50, 60, most=4)
    assert [len(part) for part in texts] == [710, 50, 60]
    strings = [string for part in texts for string in part]
    assert len(set(strings)) == len(strings)
    assert texts.train[:10] == [(digit,) for digit in range(10)]
    for part in texts:
        assert {len(string) for string in part} - {1} == {2, 3, 4}
        assert {digit for string in part for digit in string} == set(range(10))
    assert texts == data.draw_digits(700, 50, 60, most=4)


def test_letters_spell_the_words():
    letters = letter_ids(spell((3, 0)), ALPHABET)
    assert "".join(ALPHABET[letter - 1] for letter in letters) == "three zero"
    assert letter_ids("  Three, \n ZERO!", ALPHABET) == letters
    assert min(letters) > 0


def test_texts_that_cannot_be_spoken_are_refused():
    with pytest.raises(ValueError, match="the text has no letter"):
        letter_ids(" \n.", ALPHABET)
    with pytest.raises(
        ValueError, match=r"The text has '1', 'a', but only the letters .*: e, f, g"
    ):
        letter_ids("a one 1", ALPHABET)


def test_arrays_hold_the_frames_followed_by_silence():
    texts = ["one", "three seven zero", "two two"]
    audio = speak([(text, Voice()) for text in texts])
    standardizer = data.fit_standardizer(audio)
    speech = data.make_examples(texts, audio, standardizer, 5, ALPHABET)
    assert speech.frames.shape[1] % 5 == 0
    assert speech.frames.dtype == np.float32
    assert speech.letters.shape == (3, 16)
    silence = standardizer.standardize(log_mel(np.zeros(1)))[0]
    for i, sound in enumerate(audio):
        assert speech.lengths[i] == len(log_mel(sound))
        alone = standardizer.standardize(log_mel(sound))
        np.testing.assert_array_equal(speech.frames[i, : len(alone)], alone)
        np.testing.assert_array_equal(
            speech.frames[i, len(alone) :],
            np.broadcast_to(silence, speech.frames[i, len(alone) :].shape),
        )
        np.testing.assert_array_equal(
            speech.letters[i][speech.letters[i] > 0], letter_ids(texts[i], ALPHABET)
        )


def test_the_standardizer_is_fitted_to_all_frames():
    audio = speak([("one", Voice()), ("two six", Voice())])
    standardizer = data.fit_standardizer(audio)
    frames = np.concatenate([standardizer.standardize(log_mel(sound)) for sound in audio])
    np.testing.assert_allclose(frames.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(frames.std(0), 1, atol=1e-4)
    assert isinstance(standardizer, Standardizer)


def test_digits_are_padded_with_minus_one():
    padded = data.pad_digits([(1, 2), (0,)])
    assert padded.dtype == np.int32
    assert padded.tolist() == [[1, 2], [0, -1]]
