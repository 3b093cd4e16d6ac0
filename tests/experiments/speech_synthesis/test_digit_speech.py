"""Strings of digits in words: their split, letters, and arrays."""

import numpy as np
import pytest

from experiments.speech.spoken_digits import Scale
from experiments.speech_synthesis import digit_speech
from experiments.speech_synthesis.audio import log_mel
from experiments.speech_synthesis.digit_speech import ALPHABET, as_text, to_letters
from experiments.speech_synthesis.espeak import Voice
from tests.fixtures.synthetic_teacher import speak


def test_no_string_lies_in_two_parts():
    texts = digit_speech.draw_texts(700, 50, 60, most=4)
    assert [len(part) for part in texts] == [710, 50, 60]
    strings = [string for part in texts for string in part]
    assert len(set(strings)) == len(strings)
    assert texts.train[:10] == [(digit,) for digit in range(10)]
    for part in texts:
        assert {len(string) for string in part} - {1} == {2, 3, 4}
        assert {digit for string in part for digit in string} == set(range(10))
    assert texts == digit_speech.draw_texts(700, 50, 60, most=4)


def test_letters_are_those_of_the_words():
    letters = to_letters(as_text((3, 0)))
    assert "".join(ALPHABET[letter - 1] for letter in letters) == "three zero"
    assert to_letters("  Three \n ZERO") == letters
    assert min(letters) > 0


def test_what_cannot_be_said_is_named():
    with pytest.raises(ValueError, match="the text is empty"):
        to_letters(" \n")
    with pytest.raises(ValueError, match=r"The text has '1', 'a', but only letters .*: e, f, g"):
        to_letters("a one 1")


def test_arrays_hold_the_frames_and_then_silence():
    texts = [(1,), (3, 7, 0), (2, 2)]
    audio = speak([(as_text(text), Voice()) for text in texts])
    scale = digit_speech.mel_scale(audio)
    speech = digit_speech.make_speech(texts, audio, scale, reduction=5)
    assert speech.frames.shape[1] % 5 == 0
    assert speech.frames.dtype == np.float32
    assert speech.letters.shape == (3, 16)
    silence = scale.scaled(log_mel(np.zeros(1)))[0]
    for i, sound in enumerate(audio):
        assert speech.lengths[i] == len(log_mel(sound))
        alone = scale.scaled(log_mel(sound))
        np.testing.assert_array_equal(speech.frames[i, : len(alone)], alone)
        np.testing.assert_array_equal(
            speech.frames[i, len(alone) :],
            np.broadcast_to(silence, speech.frames[i, len(alone) :].shape),
        )
        np.testing.assert_array_equal(
            speech.letters[i][speech.letters[i] > 0], to_letters(as_text(texts[i]))
        )


def test_the_scale_is_that_of_all_frames():
    audio = speak([("one", Voice()), ("two six", Voice())])
    scale = digit_speech.mel_scale(audio)
    frames = np.concatenate([scale.scaled(log_mel(sound)) for sound in audio])
    np.testing.assert_allclose(frames.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(frames.std(0), 1, atol=1e-4)
    assert isinstance(scale, Scale)
