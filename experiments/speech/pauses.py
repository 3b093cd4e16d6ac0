"""Where a recording has speech, and where it pauses. Frames are 25 ms apart and read 50 ms."""

import numpy as np

QUIET = -55.0  # dB of full scale; without a louder frame, a recording is silent
RISE = 4.0  # dB from the quiet to the loudest frame; noise and tones have less
PAUSE = 6.0  # dB above the quiet frames; below it a frame belongs to a pause


def frame_hop(rate: int) -> int:
    """The samples from one frame to the next."""
    return rate // 40


def take_frames(audio: np.ndarray, rate: int) -> np.ndarray:
    """Frames [1 + N // hop, 2·hop] around every hop-th sample of [N], mirrored at both ends."""
    hop = frame_hop(rate)
    padded = np.pad(audio.astype(np.float64), hop, mode="reflect")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]


def frame_levels(audio: np.ndarray, rate: int) -> np.ndarray:
    """The loudness of each frame in dB of full scale."""
    power = (take_frames(audio, rate) ** 2).mean(-1)
    return 10 * np.log10(np.maximum(power, 1e-12))


def find_pauses(audio: np.ndarray, rate: int) -> np.ndarray | None:
    """Which frames of audio [N] belong to a pause, bool; None if there is no speech.

    Speech is louder in some frames than in others; silence, noise and tones are not.
    """
    levels = frame_levels(audio, rate)
    quiet = max(float(np.percentile(levels, 10)), QUIET - PAUSE)
    if levels.max() < QUIET or levels.max() < quiet + RISE:
        return None
    return levels < quiet + PAUSE
