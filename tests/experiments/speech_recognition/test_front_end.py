"""WAV files of all kinds become the same cepstra; what is no speech is told apart."""

import struct

import numpy as np
import pytest
from scipy.io import wavfile

from experiments.common.command import InputError
from experiments.speech_recognition.front_end import (
    HOP,
    RATE,
    cepstra,
    frame_levels,
    read_wav,
    speech_cepstra,
)
from tests.fixtures.recordings import say, write_wav


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("channels", [1, 2])
def test_all_widths_and_channels_are_the_same_audio(tmp_path, bits, channels):
    audio = say("one two", RATE)
    write_wav(tmp_path / "a.wav", audio, RATE, bits, channels)
    read = read_wav(tmp_path / "a.wav")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, audio, atol=2.0 ** (1 - bits) + 1e-6)


def test_floating_point_and_unequal_channels(tmp_path):
    audio = say("one", RATE)
    wavfile.write(tmp_path / "a.wav", RATE, np.stack([audio, 0 * audio], 1).astype(np.float32))
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav"), audio / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [11_025, 16_000, 44_100, 48_000])
def test_other_rates_are_resampled(tmp_path, rate):
    write_wav(tmp_path / "a.wav", say("one two", rate), rate)
    write_wav(tmp_path / "b.wav", say("one two", RATE), RATE)
    one, other = (read_wav(tmp_path / name) for name in ("a.wav", "b.wav"))
    assert abs(len(one) - len(other)) <= 8  # say() rounds the length of each sound
    start = slice(0, int(0.3 * RATE))  # the first pause and sound
    assert np.corrcoef(one[start], other[start])[0, 1] > 0.99


def test_a_phones_notes_after_the_samples_do_not_matter(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, say("one", RATE), RATE)
    before = read_wav(path)
    chunk = b"LIST" + struct.pack("<I", 10) + b"INFOxxxxxx"
    content = path.read_bytes() + chunk
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    np.testing.assert_array_equal(read_wav(path), before)


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
    assert len(frame_levels(long)) > len(frame_levels(short)) + 200
    assert len(speech_cepstra(long)) <= len(speech_cepstra(short)) + 8


def test_what_is_no_such_file(tmp_path):
    path = tmp_path / "a.wav"
    with pytest.raises(InputError, match="There is no file"):
        read_wav(path)
    for content, message in (
        (b"ID3 an MP3 file", "cannot be read as a WAV file"),
        (b"", "cannot be read as a WAV file"),
        (b"RIFF\x24\0\0\0WAVE", "cannot be read as a WAV file"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_wav(path)
    write_wav(path, np.zeros(4000), 4000)
    with pytest.raises(InputError, match="has 4,000 samples per second; 8,000 are needed"):
        read_wav(path)
    write_wav(path, np.zeros(61 * RATE), RATE, channels=1)
    with pytest.raises(InputError, match=r"lasts 61 seconds; 0\.05 to 60 are read"):
        read_wav(path)
    write_wav(path, np.zeros(10), RATE)
    with pytest.raises(InputError, match=r"lasts 0\.00125 seconds"):
        read_wav(path)
    wavfile.write(path, RATE, np.full(RATE, np.nan, np.float32))
    with pytest.raises(InputError, match="must hold finite samples"):
        read_wav(path)
