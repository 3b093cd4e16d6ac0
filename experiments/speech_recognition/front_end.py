"""Recordings in the user's WAV files, as the cepstra that the networks are trained on.

The spoken digits come as cepstra. They are those of torchaudio's `MFCC` with its default settings:
computed so from the 3,000 recordings of the Free Spoken Digit Dataset, no coefficient differs by
more than 0.001. Frames are 25 ms apart and read 50 ms; a spectrum has 128 mel bands.
"""

import numpy as np
from scipy import fft

from experiments.speech.pauses import find_pauses, frame_hop, take_frames
from experiments.speech.spoken_digits import COEFFICIENTS

RATE = 8000  # samples per second, that of the spoken digits
WINDOW = 2 * frame_hop(RATE)  # samples
MELS = 128
RANGE = 80.0  # dB below the loudest band, where every band ends
LONGEST_PAUSE = 8  # frames of a pause that are kept, as in the training strings


def speech_cepstra(audio: np.ndarray) -> np.ndarray | None:
    """The `cepstra` of audio [N], with long pauses shortened; None if there is no speech.

    Returns: float32 [T, 13].
    """
    is_pause = find_pauses(audio, RATE)
    if is_pause is None:
        return None
    changes = np.flatnonzero(np.diff(is_pause)) + 1
    kept = np.ones(len(is_pause), bool)
    for part in np.split(np.arange(len(is_pause)), changes):
        if is_pause[part[0]] and len(part) > LONGEST_PAUSE:
            half = LONGEST_PAUSE // 2
            kept[part[half : len(part) - half]] = False
    return cepstra(audio)[kept]


def cepstra(audio: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients c_0 to c_12 of audio [N]: float32 [1 + N // 200, 13]."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(fft.rfft(take_frames(audio, RATE) * hann, axis=-1)) ** 2
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
