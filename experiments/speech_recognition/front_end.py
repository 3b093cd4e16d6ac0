"""Recordings in the user's WAV files, as the cepstra that the networks are trained on.

The spoken digits come as cepstra. They are those of torchaudio's `MFCC` with its default settings:
computed so from the 3,000 recordings of the Free Spoken Digit Dataset, no coefficient differs by
more than 0.001. Frames are 25 ms apart and read 50 ms; a spectrum has 128 mel bands.
"""

import warnings
from math import gcd
from pathlib import Path

import numpy as np
from scipy import fft
from scipy.io import wavfile
from scipy.signal import resample_poly

from experiments.common.command import InputError
from experiments.common.data.user_files import check_file
from experiments.speech.spoken_digits import COEFFICIENTS

RATE = 8000  # samples per second, that of the spoken digits
HOP, WINDOW = 200, 400  # samples
MELS = 128
RANGE = 80.0  # dB below the loudest band, where every band ends
LONGEST = 60.0  # seconds of a recording
QUIET = -55.0  # dB of full scale; without a louder frame, a recording is silent
RISE = 4.0  # dB from the quiet to the loudest frame; noise and tones have less
PAUSE = 6.0  # dB above the quiet frames; below it a frame belongs to a pause
LONGEST_PAUSE = 8  # frames of a pause that are kept, as in the training strings


def read_wav(path: Path) -> np.ndarray:
    """Reads a WAV file: PCM of 8 to 32 bits or floating-point, at 8,000 Hz or more.

    Returns: float32 [N], the mean of all channels, resampled to `RATE`; full scale is 1.

    Raises:
      InputError: there is no such WAV file, or it is shorter than a frame or longer than `LONGEST`.
    """
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks with a phone's notes
            rate, samples = wavfile.read(path)
    except Exception as error:  # a broken file can raise anything
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise InputError(f"{path} cannot be read as a WAV file ({reason}).") from None
    seconds = len(samples) / rate if rate else 0.0
    if rate < RATE:
        raise InputError(f"{path} has {rate:,} samples per second; {RATE:,} are needed.")
    if not WINDOW / RATE <= seconds <= LONGEST:
        raise InputError(
            f"{path} lasts {seconds:.3g} seconds; {WINDOW / RATE:g} to {LONGEST:g} are read."
        )
    scaled = _to_float(samples)
    if not np.isfinite(scaled).all():
        raise InputError(f"{path} must hold finite samples.")
    audio = scaled.reshape(len(scaled), -1).mean(1)
    factor = gcd(rate, RATE)
    if rate != RATE:
        audio = resample_poly(audio, RATE // factor, rate // factor)
    return audio.astype(np.float32)


def _to_float(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    if samples.dtype == np.uint8:  # the only format without a sign
        return (samples.astype(np.float64) - 128) / 128
    return samples / -float(np.iinfo(samples.dtype).min)  # SciPy shifts 24 bits to the top of 32


def speech_cepstra(audio: np.ndarray) -> np.ndarray | None:
    """The `cepstra` of audio [N], with long pauses shortened; None if there is no speech.

    Speech is louder in some frames than in others; silence, noise and tones are not.

    Returns: float32 [T, 13].
    """
    levels = frame_levels(audio)
    quiet = max(float(np.percentile(levels, 10)), QUIET - PAUSE)
    if levels.max() < QUIET or levels.max() < quiet + RISE:
        return None
    is_pause = levels < quiet + PAUSE
    changes = np.flatnonzero(np.diff(is_pause)) + 1
    kept = np.ones(len(levels), bool)
    for part in np.split(np.arange(len(levels)), changes):
        if is_pause[part[0]] and len(part) > LONGEST_PAUSE:
            half = LONGEST_PAUSE // 2
            kept[part[half : len(part) - half]] = False
    return cepstra(audio)[kept]


def frame_levels(audio: np.ndarray) -> np.ndarray:
    """The loudness of each frame in dB of full scale, [1 + N // HOP]."""
    power = (_frames(audio) ** 2).mean(-1)
    return 10 * np.log10(np.maximum(power, 1e-12))


def cepstra(audio: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients c_0 to c_12 of audio [N]: float32 [1 + N // HOP, 13]."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(fft.rfft(_frames(audio) * hann, axis=-1)) ** 2
    bands = 10 * np.log10(np.maximum(power @ FILTERS, 1e-10))
    bands = np.maximum(bands, bands.max() - RANGE)
    return fft.dct(bands, norm="ortho", axis=-1)[:, :COEFFICIENTS].astype(np.float32)


def mel_filters() -> np.ndarray:
    """Triangles evenly spaced on the mel scale, 2595·log10(1 + f/700): [201, MELS]."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, MELS + 2) / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, WINDOW // 2 + 1)[:, None]
    rising = (frequencies - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies) / np.diff(edges)[1:]
    return np.maximum(np.minimum(rising, falling), 0)


FILTERS = mel_filters()


def _frames(audio: np.ndarray) -> np.ndarray:
    """Windows [1 + N // HOP, WINDOW] around every HOP-th sample, mirrored at both ends."""
    padded = np.pad(audio.astype(np.float64), WINDOW // 2, mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
