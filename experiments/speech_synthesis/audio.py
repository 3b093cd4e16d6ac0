"""Audio to spectrograms and back: mel scale, cepstra, Griffin–Lim, WAV files. Mono, 22,050 Hz.

    audio   [N]        samples, -1 to 1
    frames  [T, ...]   T = 1 + N // HOP, one every 11.6 ms, centered on sample HOP·t

References: Griffin & Lim 1984, "Signal estimation from modified short-time Fourier transform", IEEE
Transactions on Acoustics, Speech, and Signal Processing 32; Perraudin et al. 2013, "A fast
Griffin-Lim algorithm", WASPAA; Davis & Mermelstein 1980 (mel-frequency cepstra), the same
Transactions 28; Kubichek 1993, "Mel-cepstral distance measure for objective speech quality
assessment".
"""

from pathlib import Path

import numpy as np
from scipy import fft
from scipy.io import wavfile

from experiments.common.outputs import reporting
from experiments.speech.dtw import warping_path

RATE = 22_050  # samples per second
WINDOW = 1024  # samples, Hann
HOP = 256  # samples from one frame to the next
BINS = WINDOW // 2 + 1
MELS = 64
FLOOR = 0.01  # the least magnitude of a mel band; speech reaches about 100
CEPSTRA = 13
HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
MOMENTUM = 0.99  # of the fast Griffin–Lim algorithm


def stft(audio: np.ndarray) -> np.ndarray:
    """The short-time Fourier transform, complex64 [T, 513], of audio padded with silence."""
    padded = np.pad(audio.astype(np.float32), WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    return fft.rfft(windows * HANN, axis=-1)


def istft(spectrum: np.ndarray) -> np.ndarray:
    """The audio [(T - 1)·HOP] whose transform is closest to complex [T, 513] in squared error."""
    windows = fft.irfft(spectrum, WINDOW, axis=-1) * HANN
    audio = _overlap_add(windows)
    weight = _overlap_add(np.broadcast_to(HANN**2, windows.shape))
    inside = slice(WINDOW // 2, len(audio) - WINDOW // 2)
    return audio[inside] / np.maximum(weight[inside], 1e-8)


def _overlap_add(windows: np.ndarray) -> np.ndarray:
    """Adds windows [T, WINDOW], each HOP samples after the previous: [(T - 1)·HOP + WINDOW]."""
    overlaps = WINDOW // HOP
    blocks = np.zeros((len(windows) + overlaps - 1, HOP), np.float32)
    for i in range(overlaps):
        blocks[i : i + len(windows)] += windows[:, i * HOP : (i + 1) * HOP]
    return blocks.ravel()


def mel_filters() -> np.ndarray:
    """Triangles evenly spaced on the mel scale, 2595·log10(1 + f/700): float32 [513, MELS]."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, MELS + 2) / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, BINS)[:, None]
    rising = (frequencies - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies) / np.diff(edges)[1:]
    return np.maximum(np.minimum(rising, falling), 0).astype(np.float32)


FILTERS = mel_filters()


def log_mel(audio: np.ndarray) -> np.ndarray:
    """The logarithm of the magnitude in each mel band, float32 [T, MELS]."""
    return np.log(np.maximum(np.abs(stft(audio)) @ FILTERS, FLOOR))


def from_log_mel(frames: np.ndarray, iterations: int = 60) -> np.ndarray:
    """Audio [(T - 1)·HOP] of log mel frames [T, MELS], by Griffin–Lim."""
    return griffin_lim(magnitudes(frames), iterations)


def magnitudes(frames: np.ndarray, iterations: int = 50) -> np.ndarray:
    """Non-negative magnitudes [T, 513] with nearly the mel bands of log mel frames [T, MELS].

    Uses the multiplicative updates of Lee & Seung 2001, "Algorithms for non-negative matrix
    factorization", with one factor, the filters, fixed.
    """
    target = np.exp(frames.astype(np.float32))
    result = target @ (FILTERS / np.maximum(FILTERS.sum(0), 1e-6)).T
    numerator, gram = target @ FILTERS.T, FILTERS @ FILTERS.T
    for _ in range(iterations):
        result *= numerator / np.maximum(result @ gram, 1e-8)
    return result


def griffin_lim(target: np.ndarray, iterations: int) -> np.ndarray:
    """Audio [(T - 1)·HOP] with nearly the magnitudes `target` [T, 513], from random phases.

    This is the fast variant, which extrapolates each step by `MOMENTUM`.
    """
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, target.shape)
    angles = np.exp(1j * phases).astype(np.complex64)
    before = np.zeros_like(angles)
    for _ in range(iterations):
        consistent = stft(istft(target * angles))
        extrapolated = consistent + MOMENTUM * (consistent - before)
        before = consistent
        angles = extrapolated / np.maximum(np.abs(extrapolated), 1e-8)
    return istft(target * angles)


def cepstra(audio: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients c_0 to c_12, float32 [T, 13].

    log S_m ≈ c_0/2 + Σ_k c_k cos(πk(m + ½)/MELS), where S_m is the magnitude in mel band m.
    """
    coefficients = fft.dct(log_mel(audio), axis=-1) / MELS
    return coefficients[:, :CEPSTRA].astype(np.float32)


def mel_cepstral_distortion(one: np.ndarray, other: np.ndarray) -> float:
    """The mel-cepstral distortion (MCD) of two recordings of one text, in dB.

    The distortion of two frames is 10/ln 10 · sqrt(2 Σ_k (c_k - c'_k)²), without the loudness c_0:
    the root mean square difference of two smoothed mel spectra. The result is its mean over the
    pairs of frames that dynamic time warping aligns.

    Args:
      one: `cepstra` [T, 13].
      other: [U, 13].
    """
    differences = one[:, None, 1:].astype(np.float64) - other[None, :, 1:]
    costs = 10 / np.log(10) * np.sqrt(2 * (differences**2).sum(-1))
    return float(costs[warping_path(costs)].mean())


def write_wav(path: Path, audio: np.ndarray) -> None:
    """Writes audio as 16-bit PCM, see `experiments.common.outputs`.

    Audio louder than full scale is attenuated as a whole.
    """
    peak = max(1.0, float(np.abs(audio).max(initial=0.0)))
    with reporting(path):
        wavfile.write(path, RATE, np.rint(audio / peak * 32767).astype("<i2"))
