"""Shoulder exercises as a watch on the wrist feels them: 140 recordings, from the package seglearn.

Ten subjects did seven exercises, some twenty times each, with either arm (Burns et al. 2018,
https://arxiv.org/abs/1802.01489). Windows of one subject resemble each other more than
another's: a random split of windows flatters every classifier, so all splits here are by subject.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold

from experiments.common.command import InputError
from experiments.common.data import Archive, fetch, read_member
from experiments.common.data.arrays import load_array
from experiments.common.data.tables import read_columns

ARCHIVE = Archive(
    "seglearn==1.2.5",
    "seglearn-1.2.5-py3-none-any.whl",
    "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
)
MEMBER = "seglearn/data/watch_dataset.npy"
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")  # acceleration in g, angular velocity in rad/s
RATE = 50  # samples a second
EXERCISES = (
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "trapezius extension",
    "upright row",
)


class Recordings(NamedTuple):
    """N recordings."""

    signals: np.ndarray  # float32 [N, L, 6], zero past the end
    lengths: np.ndarray  # int32 [N], in samples
    labels: np.ndarray  # int32 [N], of EXERCISES
    subjects: np.ndarray  # int32 [N]

    def select(self, indices: np.ndarray) -> "Recordings":
        """Those of these numbers."""
        return Recordings(*(field[indices] for field in self))


class Windows(NamedTuple):
    """Where M windows of one length lie."""

    recordings: np.ndarray  # int [M]
    starts: np.ndarray  # int [M], in samples


def read_recordings() -> Recordings:
    """Reads all recordings from the archive."""
    content = read_member(fetch(ARCHIVE), MEMBER)
    # A pickle could run code: this one is loaded because its archive's checksum is pinned.
    data = np.load(io.BytesIO(content), allow_pickle=True).item()
    lengths = np.array([len(signal) for signal in data["X"]], np.int32)
    signals = np.zeros((len(lengths), lengths.max(), len(CHANNELS)), np.float32)
    signals[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(data["X"])
    return Recordings(
        signals, lengths, data["y"].astype(np.int32), data["subject"].astype(np.int32)
    )


def number_folds(subjects: np.ndarray, num_folds: int) -> np.ndarray:
    """Numbers the fold of each of N recordings: int [N]. All of a subject are in one fold."""
    folds = np.zeros(len(subjects), int)
    splits = GroupKFold(num_folds).split(subjects, groups=subjects)
    for number, (_, members) in enumerate(splits):
        folds[members] = number
    return folds


def cut_windows(lengths: np.ndarray, size: int, step: int) -> Windows:
    """Places windows of `size` samples at every `step` from the start of each recording."""
    starts = [np.arange(0, length - size + 1, step) for length in lengths]
    owners = np.repeat(np.arange(len(lengths)), [len(row) for row in starts])
    return Windows(owners, np.concatenate(starts))


def window_signals(recordings: Recordings, windows: Windows, size: int) -> np.ndarray:
    """What the windows hold: float32 [M, size, 6]."""
    places = windows.starts[:, None] + np.arange(size)
    return recordings.signals[windows.recordings[:, None], places]


class Splits(NamedTuple):
    """What S trainings need, each without other subjects."""

    recordings: Recordings
    windows: Windows  # overlapping; when one is drawn, it moves by up to half of its length
    members: np.ndarray  # int [S, M], numbers of the windows that a split trains on, repeated to M
    counts: np.ndarray  # int [S], how many of these are not repeated


def leave_out(
    recordings: Recordings, folds: np.ndarray, groups: Sequence[Sequence[int]], size: int
) -> Splits:
    """Makes one split for each group of folds, which is left out of it.

    Args:
      recordings: N of them.
      folds: int [N], the fold of each.
      groups: S of them.
      size: the samples of a window.
    """
    windows = cut_windows(recordings.lengths, size, size // 2)
    of_window = folds[windows.recordings]
    members = [np.flatnonzero(~np.isin(of_window, group)) for group in groups]
    most = max(map(len, members))
    padded = np.stack([np.resize(numbers, most) for numbers in members])
    return Splits(recordings, windows, padded, np.array([len(numbers) for numbers in members]))


def read_signal(path: Path, least: int) -> np.ndarray:
    """Reads a recording that a user gives: a table with the columns CHANNELS, or a .npy [L, 6].

    Args:
      path: the file; other columns of a table are left alone.
      least: how many samples it must have.

    Returns: float32 [L, 6].

    Raises:
      FileNotFoundError: there is no such file.
      InputError: it holds something else; the message names column and row.
    """
    signal = _read_array(path) if path.suffix == ".npy" else read_columns(path, CHANNELS)
    if len(signal) < least:
        raise InputError(
            f"{path} holds {len(signal)} samples; {least} are needed, {least / RATE:g} seconds at "
            f"{RATE} Hz."
        )
    return signal.astype(np.float32)


def _read_array(path: Path) -> np.ndarray:
    array = load_array(path)
    if array.ndim != 2 or array.shape[1] != len(CHANNELS):
        raise InputError(
            f"{path} holds an array of shape {array.shape}; [L, {len(CHANNELS)}] is expected: "
            f"{', '.join(CHANNELS)} of each of L samples."
        )
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"{path} has {array[row, column]} in row {row}, column {CHANNELS[column]!r}; all "
            "numbers must be finite."
        )
    return array
