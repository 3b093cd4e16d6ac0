"""Audio to spectrograms and back, against SciPy, naive sums, and known tones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal
from scipy.io import wavfile

from experiments.speech_synthesis import audio
from experiments.speech_synthesis.audio import BINS, FILTERS, FLOOR, HOP, MELS, RATE, WINDOW


def noise(seed: int, samples: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=samples).astype(np.float32)


def tone(frequency: float, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)


@given(seed=st.integers(0, 100), samples=st.integers(WINDOW, 5000))
def test_the_transform_matches_scipy(seed, samples):
    sound = noise(seed, samples)
    window = signal.get_window("hann", WINDOW)
    oracle = signal.ShortTimeFFT(window, HOP, RATE, phase_shift=None)
    expected = oracle.stft(sound, p0=0, p1=1 + samples // HOP).T
    found = audio.stft(sound)
    assert found.shape == (1 + samples // HOP, BINS)
    assert found.dtype == np.complex64
    np.testing.assert_allclose(found, expected, atol=1e-4)


@given(seed=st.integers(0, 100), samples=st.integers(0, 4000))
def test_the_inverse_transform_restores_audio(seed, samples):
    sound = noise(seed, samples)
    back = audio.istft(audio.stft(sound))
    assert len(back) == samples // HOP * HOP
    np.testing.assert_allclose(back, sound[: len(back)], atol=1e-5)


def test_overlapping_bands_sum_to_one():
    assert FILTERS.shape == (BINS, MELS)
    assert np.all(FILTERS.max(0) > 0)
    first, last = FILTERS[:, 0].argmax(), FILTERS[:, -1].argmax()
    np.testing.assert_allclose(FILTERS[first + 1 : last].sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 5000.0])
def test_a_tone_is_in_its_band(frequency):
    mel = 2595 * np.log10(1 + frequency / 700)
    place = mel / (2595 * np.log10(1 + RATE / 1400)) * (MELS + 1) - 1
    frames = audio.log_mel(tone(frequency))
    assert abs(frames[20].argmax() - place) < 1
    np.testing.assert_allclose(audio.log_mel(np.zeros(3000)), np.log(FLOOR), rtol=1e-6)


def test_magnitudes_match_the_mel_bands():
    frames = audio.log_mel(tone(700) + tone(2500) + noise(0, 11025) / 10)
    found = audio.magnitudes(frames)
    assert found.min() >= 0
    wanted = np.exp(frames)
    assert np.linalg.norm(found @ FILTERS - wanted) < 0.05 * np.linalg.norm(wanted)


def test_griffin_lim_finds_phases():
    sound = tone(440) + tone(1300) + tone(3100) / 2
    wanted = np.abs(audio.stft(sound))

    def error(iterations: int) -> float:
        found = np.abs(audio.stft(audio.griffin_lim(wanted, iterations)))
        return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))

    assert error(50) < 0.1 < 0.3 < error(0)


def test_audio_from_mel_frames_has_the_same_frames():
    sound = tone(440) + tone(2000)
    frames = audio.log_mel(sound)
    found = audio.from_log_mel(frames)
    assert len(found) == (len(frames) - 1) * HOP
    away = np.exp(audio.log_mel(found)) - np.exp(frames)
    assert np.linalg.norm(away) < 0.1 * np.linalg.norm(np.exp(frames))


def test_cepstra_are_cosine_sums():
    sound = noise(1, 3000)
    frames, found = audio.log_mel(sound), audio.cepstra(sound)
    places = np.pi * (np.arange(MELS) + 0.5) / MELS
    for k in range(audio.CEPSTRA):
        expected = 2 / MELS * (frames * np.cos(k * places)).sum(1)
        np.testing.assert_allclose(found[:, k], expected, atol=1e-4)


@pytest.mark.parametrize("k", [1, 7])
def test_distortion_is_in_decibels(k):
    """c_k = 0.3 adds a ripple of 0.3·cos to log S, with a root mean square of 0.3/√2."""
    one, other = np.zeros((5, 13)), np.zeros((7, 13))
    other[:, k] = 0.3
    expected = 20 / np.log(10) * 0.3 / np.sqrt(2)
    np.testing.assert_allclose(audio.mel_cepstral_distortion(one, other), expected)


def test_distortion_ignores_loudness_and_tempo():
    first, second = (noise(seed, 3 * HOP * 8) for seed in (0, 1))
    cepstra = audio.cepstra(first)
    louder = audio.cepstra(2 * first)
    slower = np.repeat(cepstra, 2, axis=0)
    assert audio.mel_cepstral_distortion(cepstra, cepstra) == 0
    assert audio.mel_cepstral_distortion(cepstra, louder) < 1e-3
    assert audio.mel_cepstral_distortion(slower, cepstra) == 0
    assert audio.mel_cepstral_distortion(cepstra, audio.cepstra(second)) > 1


def test_wav_files(tmp_path):
    path = tmp_path / "sound.wav"
    sound = tone(440)
    audio.write_wav(path, sound)
    rate, samples = wavfile.read(path)
    assert (rate, samples.dtype) == (RATE, np.int16)
    np.testing.assert_allclose(samples / 32767, sound, atol=1 / 32767)
    audio.write_wav(path, 4 * sound)
    np.testing.assert_allclose(wavfile.read(path)[1] / 32767, sound / sound.max(), atol=1 / 32767)
    audio.write_wav(path, np.zeros(0))
    assert len(wavfile.read(path)[1]) == 0
