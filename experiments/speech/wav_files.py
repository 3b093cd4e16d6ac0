"""The user's WAV files, as phones and recorders write them."""

import warnings
from math import gcd
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from experiments.common.command import InputError
from experiments.common.data.user_files import check_file
from experiments.common.durable import first_line

LEAST_RATE = 8000  # samples per second
SHORTEST, LONGEST = 0.05, 60.0  # seconds of a recording


def read_wav(path: Path, rate: int) -> np.ndarray:
    """Reads a WAV file: PCM of 8 to 32 bits or floating-point, at 8,000 Hz or more.

    Args:
      path: the file.
      rate: the samples per second to resample to.

    Returns: float32 [N], the mean of all channels; full scale is 1.

    Raises:
      InputError: there is no such WAV file, or it is too short or too long.
    """
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks with a phone's notes
            own_rate, samples = wavfile.read(path)
    except Exception as error:  # a broken file can raise anything
        raise InputError(f"{path} cannot be read as a WAV file ({first_line(error)}).") from None
    seconds = len(samples) / own_rate if own_rate else 0.0
    if own_rate < LEAST_RATE:
        raise InputError(f"{path} has {own_rate:,} samples per second; {LEAST_RATE:,} are needed.")
    if not SHORTEST <= seconds <= LONGEST:
        raise InputError(
            f"{path} lasts {seconds:.3g} seconds; {SHORTEST:g} to {LONGEST:g} are read."
        )
    scaled = _to_float(samples)
    if not np.isfinite(scaled).all():
        raise InputError(f"{path} must hold finite samples.")
    audio = scaled.reshape(len(scaled), -1).mean(1)
    factor = gcd(own_rate, rate)
    if own_rate != rate:
        audio = resample_poly(audio, rate // factor, own_rate // factor)
    return audio.astype(np.float32)


def _to_float(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    if samples.dtype == np.uint8:  # the only format without a sign
        return (samples.astype(np.float64) - 128) / 128
    return samples / -float(np.iinfo(samples.dtype).min)  # SciPy shifts 24 bits to the top of 32
