"""The listener, on a teacher made of sinusoids."""

import jax
import numpy as np
import pytest
from synthetic_teacher import speak

from experiments import speech_synthesis
from experiments.common import listener, training
from experiments.common.audio import cepstra
from experiments.common.digit_speech import as_text
from experiments.common.espeak import Voice
from experiments.common.listener import Listener, ListenerSettings

TINY = ListenerSettings(
    num_strings=160,
    num_validation=20,
    most=2,
    hidden_size=24,
    num_layers=1,
    dropout=0.0,
    batch_size=16,
    epochs=12,
    learning_rate=1e-2,
)


def test_voices_are_others_for_each_purpose():
    """None is the synthesiser's, and none is on both sides of the listener's split."""
    asked = []

    def ask(texts, seed=0):
        asked.append({voice.name for _, voice in texts})
        return speak(texts)

    listener.prepare_listener(ask, TINY)
    train, validation = asked
    assert {name.split("+")[1] for name in train}.isdisjoint(
        name.split("+")[1] for name in validation
    )
    assert speech_synthesis.VOICE.name not in train | validation
    assert all("+" in name for name in train | validation)


@pytest.mark.slow
def test_it_learns_to_hear_and_is_deaf_to_padding():
    data = listener.prepare_listener(speak, TINY)
    state, metrics = jax.jit(
        lambda key: training.train(listener.listener_training(TINY, data), key)
    )(jax.random.key(0))
    assert metrics["validation_digits_right"].max() > 0.9
    hears = Listener(listener.make_listener(TINY), state.best_params, data.scale)
    strings = [(3, 8), (5,), (1, 9)]
    audio = speak([(as_text(string), Voice("another", 160)) for string in strings])
    heard = hears(audio)
    assert heard == [hears([sound])[0] for sound in audio]
    assert sum(list(said) == row for said, row in zip(strings, heard, strict=True)) >= 2


def test_arrays_are_padded():
    scale = listener.Scale(np.full(13, 1.0), np.full(13, 2.0))
    audio = speak([("one", Voice()), ("seven", Voice())])
    frames, lengths = listener.as_frames(audio, scale)
    for row, sound, length in zip(frames, audio, lengths, strict=True):
        np.testing.assert_allclose(row[:length], (cepstra(sound) - 1) / 2, atol=1e-5)
        assert not row[length:].any()
    padded = listener.pad_digits([(1, 2), (0,)])
    assert padded.tolist() == [[1, 2], [0, -1]]
