"""Audio becomes the cepstra of the data set; what is no speech is told apart."""

import numpy as np
import pytest

from experiments.speech.pauses import frame_levels
from experiments.speech_recognition.front_end import RATE, cepstra, speech_cepstra
from tests.fixtures.recordings import say

HOP = 200


def test_cepstra_follow_their_definition():
    """One frame, by the sums of the definition."""
    audio = say("one", RATE).astype(np.float32)
    found = cepstra(audio)
    assert found.shape == (1 + len(audio) // HOP, 13)
    frame, n, mels = 12, np.arange(400), 128
    samples = audio[frame * HOP - 200 : frame * HOP + 200] * np.sin(np.pi * n / 400) ** 2
    waves = np.exp(-2j * np.pi * np.outer(np.arange(201), n) / 400)
    power = np.abs(waves @ samples) ** 2
    mel = 2595 * np.log10(1 + np.arange(201) * 20 / 700)  # 20 Hz from one to the next
    edges = np.linspace(0, 2595 * np.log10(1 + 4000 / 700), mels + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    assert np.all(np.diff(mel) > 0)
    bands = [
        sum(p * np.interp(20 * k, hertz[m : m + 3], [0, 1, 0]) for k, p in enumerate(power))
        for m in range(mels)
    ]
    log_bands = 10 * np.log10(np.maximum(bands, 1e-10))
    # The floor is 80 dB below the loudest band of all frames.
    log_bands = np.maximum(log_bands, loudest_band(audio) - 80)
    m = np.arange(mels) + 0.5
    for k in (0, 1, 5, 12):
        scale = np.sqrt((1 if k == 0 else 2) / mels)
        expected = scale * (log_bands * np.cos(np.pi * k * m / mels)).sum()
        assert found[frame, k] == pytest.approx(expected, abs=0.05)


def loudest_band(audio) -> float:
    from experiments.speech_recognition import front_end

    padded = np.pad(audio, 200, mode="reflect")
    frames = np.stack([padded[i : i + 400] for i in range(0, len(padded) - 399, HOP)])
    power = np.abs(np.fft.rfft(frames * np.sin(np.pi * np.arange(400) / 400) ** 2)) ** 2
    return float(10 * np.log10((power @ front_end.FILTERS).max()))


def test_silence_noise_and_hum_are_no_speech():
    rng = np.random.default_rng(0)
    times = np.arange(2 * RATE) / RATE
    for audio in (
        0 * times,
        0 * times + 0.3,  # an offset of the recorder
        0.1 * rng.normal(size=len(times)),
        1e-4 * rng.normal(size=len(times)),
        0.3 * np.sin(2 * np.pi * 50 * times),
        1e-3 * say("one", RATE),  # softer than anybody hears
    ):
        assert speech_cepstra(audio) is None
    assert speech_cepstra(say("one", RATE)) is not None


def test_long_pauses_are_shortened():
    silence = 1e-3 * np.random.default_rng(0).normal(size=3 * RATE)
    short, long = say("one two", RATE), np.concatenate([silence, say("one two", RATE), silence])
    assert len(frame_levels(long, RATE)) > len(frame_levels(short, RATE)) + 200
    assert len(speech_cepstra(long)) <= len(speech_cepstra(short)) + 8
