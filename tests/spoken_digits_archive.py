"""A small archive of spoken digits, made up, in the layout of the real one."""

import io
import zipfile
from pathlib import Path

import numpy as np

from experiments.common import spoken_digits


def make_utterances(each: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Utterances of which each digit has its own beginning, middle and end.

    Returns: all frames in a row [sum of lengths, 13], the digits [N] and the lengths [N].
    """
    rng = np.random.default_rng(seed)
    sounds = rng.normal(size=(10, 3, 13))
    digits = rng.permutation(np.repeat(np.arange(10), each))
    lengths = rng.integers(6, 13, len(digits))
    frames = [
        sounds[digit][np.linspace(0, 2.99, length).astype(int)] + rng.normal(size=(length, 13)) / 5
        for digit, length in zip(digits, lengths, strict=True)
    ]
    # As real ones: the first coefficient is the loudness, of another size than the others.
    joined = np.concatenate(frames) * np.array([100.0] + [20.0] * 12) - 50
    return joined.astype(np.float32), digits, lengths


def make_archive(path: Path) -> None:
    """Writes the archive."""
    frames, digits, lengths = make_utterances()
    content = io.BytesIO()
    np.savez(content, X=frames, y=digits, lengths=lengths)
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(spoken_digits.MEMBER, content.getvalue())
