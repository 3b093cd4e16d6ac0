"""The listener, on a teacher made of sinusoids."""

import jax
import numpy as np

from experiments.speech.spoken_digits import Standardizer
from experiments.speech_synthesis import listener
from experiments.speech_synthesis import train as speech_synthesis
from experiments.speech_synthesis.audio import cepstra
from experiments.speech_synthesis.espeak import Voice
from experiments.speech_synthesis.listener import Listener, ListenerSettings
from tests.fixtures.synthetic_teacher import speak

SETTINGS = ListenerSettings(num_strings=80, num_validation=20, hidden_size=24, num_layers=1)


def test_each_part_has_its_own_voices():
    """None is the synthesizer's, and none is in both parts of the listener's split."""
    asked = []

    def ask(texts, seed=0):
        asked.append({voice.name for _, voice in texts})
        return speak(texts)

    listener.prepare_listener(ask, SETTINGS)
    train, validation = asked
    assert {name.split("+")[1] for name in train}.isdisjoint(
        name.split("+")[1] for name in validation
    )
    assert speech_synthesis.VOICE.name not in train | validation
    assert all("+" in name for name in train | validation)


def test_padding_does_not_change_the_digits():
    model = listener.make_listener(SETTINGS)
    params = model.init(jax.random.key(0), np.zeros((1, 3, 13)))
    params = jax.tree.map(
        lambda leaf: 5 * leaf, params
    )  # large enough that some labels are not blank
    listen = Listener(model, params, Standardizer(np.zeros(13), np.ones(13)))
    audio = speak([("three eight", Voice()), ("five", Voice("another", 160))])
    heard = listen(audio)
    assert all(heard)
    assert listen(audio[1:]) == heard[1:]


def test_cepstra_are_padded():
    standardizer = Standardizer(np.full(13, 1.0), np.full(13, 2.0))
    audio = speak([("one", Voice()), ("seven", Voice())])
    frames, lengths = listener.pad_cepstra(audio, standardizer)
    for row, sound, length in zip(frames, audio, lengths, strict=True):
        np.testing.assert_allclose(row[:length], (cepstra(sound) - 1) / 2, atol=1e-5)
        assert not row[length:].any()
