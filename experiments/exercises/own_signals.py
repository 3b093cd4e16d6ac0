"""The user's recordings at one sampling rate, cut at gaps, split, and standardized."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.common.command import InputError
from experiments.common.data.splits import Split, merge_groups, note_equal, split_own
from experiments.common.data.user_files import quote
from experiments.common.report.counts import count
from experiments.exercises.own_tables import Stretch, Tables
from experiments.exercises.wrist_sensor import Recordings, Windows, cut_windows

MOST_RATE = 100.0  # samples per second; faster sensors are averaged
LEAST_SAMPLES = 16  # of a window
GAP = 0.5, 5  # seconds, and steps, without a number: a gap, at which a recording is cut
PIECE = 10  # windows of a piece; longer stretches are cut into pieces
LEAST_RECORDINGS, LEAST_PERSONS = 5, 3  # of each label


class Scale(NamedTuple):
    """How channels are standardized, and what is usual in them."""

    mean: np.ndarray  # [C]
    deviation: np.ndarray  # [C]
    low: np.ndarray  # [C], of the values in training, almost all
    high: np.ndarray  # [C]

    def standardize(self, signals: np.ndarray) -> np.ndarray:
        """Signals [..., C] with mean 0 and deviation 1 in training."""
        return ((signals - self.mean) / self.deviation).astype(np.float32)

    def restore(self, signals: np.ndarray) -> np.ndarray:
        """The signals [..., C] that were standardized."""
        return signals * self.deviation + self.mean


class OwnData(NamedTuple):
    """N standardized pieces of recordings, and windows of them."""

    pieces: Recordings  # the `subjects` are the numbers of the recordings
    names: list[str]  # of the labels
    groups: np.ndarray  # int [N], the person or the recording of each, by which they are split
    split: Split  # of the pieces
    scale: Scale  # fitted to the training part
    rate: float
    size: int  # samples of a window
    notes: list[str]

    def windows(self, part: np.ndarray, step: int) -> Windows:
        """Windows of some pieces, every `step` samples."""
        cut = cut_windows(self.pieces.lengths[part], self.size, step)
        return Windows(part[cut.recordings], cut.starts)


def estimate_rate(stretches: Sequence[Stretch]) -> float:
    """Samples per second, by the median step of each channel's numbers; at most `MOST_RATE`.

    Raises:
      InputError: no channel has two numbers in a row.
    """
    steps = [
        np.median(np.diff(stretch.times[np.isfinite(column)]))
        for stretch in stretches
        for column in stretch.values.T
        if np.isfinite(column).sum() > 1
    ]
    if not steps:
        raise InputError("The recordings are single rows; several rows each are needed.")
    rate = float(f"{1 / np.median(steps):.3g}")
    return min(round(rate) if abs(rate - round(rate)) < 0.02 * rate else rate, MOST_RATE)


def resample(stretch: Stretch, rate: float) -> list[np.ndarray]:
    """Interpolates a stretch at a rate, and cuts it at gaps: pieces float [L, C].

    Each channel has times of its own where others are missing, as if sensors took turns. One that
    is faster than the rate is averaged before.
    """
    steps = np.diff(stretch.times)
    cuts = np.flatnonzero(steps > _longest_step(stretch.times)) + 1
    rows = np.split(np.arange(len(stretch.times)), cuts)
    parts = [_resample_rows(stretch.times[part], stretch.values[part], rate) for part in rows]
    return [signal for part in parts for signal in part]


def _longest_step(times: np.ndarray) -> float:
    """The longest step, in seconds, that is no gap."""
    return max(GAP[0], GAP[1] * float(np.median(np.diff(times)))) if len(times) > 1 else 0.0


def _resample_rows(times: np.ndarray, values: np.ndarray, rate: float) -> list[np.ndarray]:
    grid = np.arange(times[0], times[-1] + 1e-9, 1 / rate)
    columns, is_known = [], np.ones(len(grid), bool)
    for column in values.T:
        known = np.isfinite(column)
        moments, numbers = times[known], column[known]
        if len(moments) < 2:
            return []
        longest = _longest_step(moments)
        if np.median(np.diff(moments)) < 0.7 / rate:
            moments, numbers = _average(moments, numbers, rate)
        after = np.clip(np.searchsorted(moments, grid), 1, len(moments) - 1)
        is_known &= moments[after] - moments[after - 1] <= longest
        is_known &= (grid > moments[0] - longest) & (grid < moments[-1] + longest)
        columns.append(np.interp(grid, moments, numbers))
    changes = np.diff(np.concatenate([[False], is_known, [False]]).astype(int))
    signal = np.stack(columns, 1)
    return [signal[first:stop] for first, stop in np.flatnonzero(changes).reshape(-1, 2)]


def _average(times: np.ndarray, values: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Means of times and values over intervals of 1 / rate around multiples of it."""
    _, interval = np.unique(np.rint((times - times[0]) * rate), return_inverse=True)
    count = np.bincount(interval)
    return np.bincount(interval, times) / count, np.bincount(interval, values) / count


def window_samples(window: float, rate: float) -> int:
    """The samples of a window of so many seconds. Raises InputError: they are too few."""
    size = round(window * rate)
    if size < LEAST_SAMPLES:
        raise InputError(
            f"A window of {window:g} seconds has {size} samples at {rate:g} a second; at least "
            f"{LEAST_SAMPLES} are needed: set a longer `--window`."
        )
    return size


def prepare(tables: Tables, window: float) -> OwnData:
    """Resamples, splits and standardizes recordings.

    Raises:
      InputError: there are too few, of one label, or a channel is constant.
    """
    rate = estimate_rate(tables.stretches)
    size = window_samples(window, rate)
    kept: list[tuple[Stretch, np.ndarray]] = []
    short = 0
    for stretch in tables.stretches:
        for signal in resample(stretch, rate):
            short += len(signal) < size
            parts = np.array_split(signal, max(len(signal) // (PIECE * size), 1))
            kept += [(stretch, part) for part in parts if len(part) >= size]
    notes = [*tables.notes, f"{rate:g} samples per second; a window has {size} of them."]
    if short:
        notes.append(f"Left out: {count(short, 'stretch', 'stretches')} shorter than a window.")
    kind = "person" if tables.has_persons else "recording"
    wholes = [f"{stretch.person}\n{stretch.recording}" for stretch, _ in kept]
    persons = [stretch.person for stretch, _ in kept]
    recordings, groups = (np.unique(x, return_inverse=True)[1] for x in (wholes, persons))
    equal = merge_groups([signal.tobytes() for _, signal in kept])
    notes += note_equal(equal, "piece")
    groups = merge_groups(groups if tables.has_persons else recordings, equal)
    found, labels = np.unique([stretch.label for stretch, _ in kept], return_inverse=True)
    names = list(map(str, found))
    _check_labels(names, labels, groups, kind)
    signals = [signal for _, signal in kept]
    for name, column in zip(tables.channels, np.concatenate(signals).T, strict=True):
        if np.ptp(column) == 0:
            raise InputError(
                f"Channel {quote(name)} is constant, {column[0]:g}: name the others with "
                "`--columns channel=NAME ...`."
            )
    split = split_own(labels, groups, names, kind)
    scale = _fit_scale(np.concatenate([signals[i] for i in split.train]))
    lengths = np.array([len(signal) for signal in signals], np.int32)
    padded = np.zeros((len(signals), lengths.max(), len(tables.channels)), np.float32)
    padded[np.arange(lengths.max()) < lengths[:, None]] = scale.standardize(np.concatenate(signals))
    pieces = Recordings(padded, lengths, labels.astype(np.int32), recordings)
    return OwnData(pieces, names, groups, split, scale, rate, size, notes)


def _check_labels(names: Sequence[str], labels: np.ndarray, groups: np.ndarray, kind: str) -> None:
    least = LEAST_PERSONS if kind == "person" else LEAST_RECORDINGS
    if len(names) < 2:
        only = f"one label, {quote(*names)}" if names else "no label with a whole window"
        raise InputError(f"The recordings have {only}; at least two labels are needed.")
    for label, name in enumerate(names):
        number = len(np.unique(groups[labels == label]))
        if number < least:
            raise InputError(
                f"The label {quote(name)} has {count(number, kind)} with a whole window; at least "
                f"{least} are needed."
            )


def _fit_scale(values: np.ndarray) -> Scale:
    """Fits the scale to the training samples [M, C]."""
    low, high = np.quantile(values, [0.001, 0.999], axis=0)
    return Scale(values.mean(0), np.maximum(values.std(0), 1e-6), low, high)
