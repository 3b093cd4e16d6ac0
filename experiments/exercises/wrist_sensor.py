"""Shoulder exercises recorded by a watch on the wrist: 140 recordings, from the package seglearn.

Ten subjects did seven exercises, about twenty times each, with either arm (Burns et al. 2018,
https://arxiv.org/abs/1802.01489). Windows of one subject resemble each other more than windows of
different subjects: a random split of windows flatters every classifier. All splits are by subject.
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
from experiments.common.report.counts import count

ARCHIVE = Archive(
    "seglearn==1.2.5",
    "seglearn-1.2.5-py3-none-any.whl",
    "ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
)
MEMBER = "seglearn/data/watch_dataset.npy"
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")  # acceleration in g, angular velocity in rad/s
RATE = 50  # samples per second
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
    labels: np.ndarray  # int32 [N], indices into EXERCISES
    subjects: np.ndarray  # int32 [N]

    def select(self, indices: np.ndarray) -> "Recordings":
        """The recordings at these indices."""
        return Recordings(*(field[indices] for field in self))


class Windows(NamedTuple):
    """The positions of M windows of equal length."""

    recordings: np.ndarray  # int [M], the recording of each
    starts: np.ndarray  # int [M], in samples


def read_recordings() -> Recordings:
    """Reads all recordings from the archive."""
    content = read_member(fetch(ARCHIVE), MEMBER)
    # A pickle can run code. This one is safe to load: its archive's checksum is pinned.
    data = np.load(io.BytesIO(content), allow_pickle=True).item()
    lengths = np.array([len(signal) for signal in data["X"]], np.int32)
    signals = np.zeros((len(lengths), lengths.max(), len(CHANNELS)), np.float32)
    signals[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(data["X"])
    return Recordings(
        signals, lengths, data["y"].astype(np.int32), data["subject"].astype(np.int32)
    )


def assign_folds(subjects: np.ndarray, num_folds: int) -> np.ndarray:
    """The fold of each of N recordings: int [N]. All recordings of a subject are in one fold."""
    folds = np.zeros(len(subjects), int)
    splits = GroupKFold(num_folds).split(subjects, groups=subjects)
    for number, (_, members) in enumerate(splits):
        folds[members] = number
    return folds


def cut_windows(lengths: np.ndarray, size: int, step: int) -> Windows:
    """Positions windows of `size` samples every `step` samples from the start of each recording."""
    starts = [np.arange(0, length - size + 1, step) for length in lengths]
    recordings = np.repeat(np.arange(len(lengths)), [len(row) for row in starts])
    return Windows(recordings, np.concatenate(starts))


def window_signals(recordings: Recordings, windows: Windows, size: int) -> np.ndarray:
    """The samples of the windows: float32 [M, size, 6]."""
    samples = windows.starts[:, None] + np.arange(size)
    return recordings.signals[windows.recordings[:, None], samples]


class Splits(NamedTuple):
    """The data of S trainings, each of which leaves out other subjects."""

    recordings: Recordings
    windows: Windows  # overlapping; training shifts each by up to half of its length
    members: np.ndarray  # int [S, M], indices of each split's windows, repeated to fill M
    counts: np.ndarray  # int [S], the number of each split's windows


def leave_out_folds(
    recordings: Recordings, folds: np.ndarray, groups: Sequence[Sequence[int]], size: int
) -> Splits:
    """Makes one split per group of folds; the split leaves the group out.

    Args:
      recordings: N recordings.
      folds: int [N], the fold of each.
      groups: S groups of folds.
      size: the samples per window.
    """
    windows = cut_windows(recordings.lengths, size, size // 2)
    window_folds = folds[windows.recordings]
    members = [np.flatnonzero(~np.isin(window_folds, group)) for group in groups]
    most = max(map(len, members))
    padded = np.stack([np.resize(indices, most) for indices in members])
    return Splits(recordings, windows, padded, np.array([len(indices) for indices in members]))


def read_signal(path: Path, least: int) -> np.ndarray:
    """Reads a user's recording: a table with the columns CHANNELS, or a .npy array [L, 6].

    Args:
      path: the file; other columns of a table are ignored.
      least: the least number of samples.

    Returns: float32 [L, 6].

    Raises:
      InputError: there is no such file, or it holds anything else; the message says where.
    """
    signal = read_array(path, CHANNELS) if path.suffix == ".npy" else read_columns(path, CHANNELS)
    if len(signal) < least:
        raise InputError(
            f"{path} holds {count(len(signal), 'sample')}; {least} are needed, {least / RATE:g} "
            f"seconds at {RATE} Hz."
        )
    return signal.astype(np.float32)


def read_array(path: Path, channels: Sequence[str]) -> np.ndarray:
    """Reads a .npy array [L, C] of these channels. Raises InputError: it is something else."""
    array = load_array(path)
    if array.ndim != 2 or array.shape[1] != len(channels):
        raise InputError(
            f"{path} holds an array of shape {array.shape}; [L, {len(channels)}] is expected: "
            f"{', '.join(channels)} for each of L samples."
        )
    bad_cells = np.argwhere(~np.isfinite(array))
    if len(bad_cells):
        row, column = bad_cells[0]
        raise InputError(
            f"{path} has {array[row, column]} in row {row}, column {channels[column]!r}; all "
            "numbers must be finite."
        )
    return array
