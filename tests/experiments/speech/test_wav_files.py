"""WAV files of all kinds become the same audio; others are refused."""

import struct

import numpy as np
import pytest
from scipy.io import wavfile

from experiments.common.command import InputError
from experiments.speech import wav_files
from tests.fixtures.recordings import say, write_wav

RATE = 8000


def read_wav(path):
    return wav_files.read_wav(path, RATE)


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
