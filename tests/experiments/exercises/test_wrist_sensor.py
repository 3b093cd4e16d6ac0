"""Wrist recordings from a small archive: reading, folds, windows, and a user's files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.common.command import InputError
from experiments.common.data.tables import read_columns
from experiments.exercises import wrist_sensor
from experiments.exercises.wrist_sensor import (
    CHANNELS,
    Recordings,
    assign_folds,
    cut_windows,
    leave_out_folds,
    read_signal,
    window_signals,
)
from tests.fixtures.archives.wrist import make_recordings


@pytest.mark.usefixtures("wrist")
def test_recordings_are_read():
    made = make_recordings()
    recordings = wrist_sensor.read_recordings()
    np.testing.assert_array_equal(recordings.labels, made["y"])
    np.testing.assert_array_equal(recordings.subjects, made["subject"])
    for signal, length, expected in zip(*recordings[:2], made["X"], strict=True):
        assert length == len(expected)
        np.testing.assert_allclose(signal[:length], expected, rtol=1e-6)
        assert not signal[length:].any()


def numbered(lengths, subjects) -> Recordings:
    """Recordings whose samples hold the number of the recording and the time."""
    signals = np.zeros((len(lengths), max(lengths), 6), np.float32)
    for i, length in enumerate(lengths):
        signals[i, :length] = 1000 * i + np.arange(length)[:, None]
    return Recordings(signals, np.array(lengths), np.arange(len(lengths)) % 7, np.array(subjects))


@given(
    subjects=st.lists(st.integers(0, 9), min_size=20, max_size=60).filter(lambda s: len(set(s)) > 4)
)
def test_no_subject_is_in_two_folds_or_on_both_sides_of_a_split(subjects):
    recordings = numbered([30] * len(subjects), subjects)
    folds = assign_folds(recordings.subjects, 5)
    assert set(folds) == set(range(5))
    for subject in set(subjects):
        assert len(set(folds[recordings.subjects == subject])) == 1
    groups = [[0], [1, 2], [4]]
    splits = leave_out_folds(recordings, folds, groups, 10)
    owners = splits.windows.recordings
    for group, members, count in zip(groups, splits.members, splits.counts, strict=True):
        trained = {subjects[i] for i in owners[members]}
        left_out = {subjects[i] for i in np.flatnonzero(np.isin(folds, group))}
        assert not trained & left_out
        assert trained | left_out == set(subjects)
        assert len(np.unique(members)) == len(np.unique(members[:count])) == count


@given(
    lengths=st.lists(st.integers(0, 50), min_size=1, max_size=5),
    size=st.integers(1, 20),
    step=st.integers(1, 20),
)
def test_windows_are_inside_their_recording(lengths, size, step):
    windows = cut_windows(np.array(lengths), size, step)
    expected = [
        (i, start)
        for i, length in enumerate(lengths)
        for start in range(0, length, step)
        if start + size <= length
    ]
    assert list(zip(*map(np.ndarray.tolist, windows), strict=True)) == expected


def test_windows_hold_their_samples():
    recordings = numbered([30, 50], [1, 2])
    windows = cut_windows(recordings.lengths, 20, 10)
    signals = window_signals(recordings, windows, 20)
    expected = 1000 * windows.recordings[:, None] + windows.starts[:, None] + np.arange(20)
    np.testing.assert_array_equal(signals, np.repeat(expected[..., None], 6, 2))


HEADER = ",".join(("note", *CHANNELS))
ROW = "x,1,2,3,4,5,6"


def test_tables_and_arrays_are_read(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([HEADER, *[ROW] * 5]))
    table = read_signal(path, least=5)
    np.testing.assert_array_equal(table, np.tile(np.arange(1.0, 7), (5, 1)))
    path.write_text("\n".join([HEADER.replace(",", ";"), *[ROW.replace(",", ";")] * 5]))
    np.testing.assert_array_equal(read_signal(path, least=5), table)
    np.save(tmp_path / "mine.npy", table)
    np.testing.assert_array_equal(read_signal(tmp_path / "mine.npy", least=5), table)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER.replace("wy", "gy"), ROW], "has no column 'wy'; it has the columns note, ax"),
        ([HEADER, ROW, ROW.replace("3", "up")], "Column 'az' of .* holds 'up' in row 3"),
        ([HEADER, ROW, ROW.replace("3", "inf")], "Column 'az' of .* holds 'inf' in row 3"),
        ([HEADER, ROW, ROW.replace("3", ""), ROW], "Column 'az' of .* holds no number in row 3"),
        ([HEADER, ROW, ROW.replace("6", "nan")], "Column 'wz' of .* holds no number in row 3"),
        ([HEADER, ROW, "x,1"], "Row 3 of .* has 2 cells, but the header has 7"),
        ([HEADER, ROW], r"holds 1 sample; 100 are needed, 2 seconds at 50 Hz"),
        ([HEADER], "holds 0 samples"),
        ([""], "has no header: row 1"),
    ],
)
def test_bad_tables_are_refused_by_column_and_row(tmp_path, lines, message):
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=message):
        read_signal(path, least=100)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((100, 5)), r"shape \(100, 5\); \[L, 6\] is expected: ax, ay, az, wx, wy, wz"),
        (np.full((100, 6), np.inf), "inf in row 0, column 'ax'"),
        (np.zeros((99, 6)), "holds 99 samples; 100 are needed"),
    ],
)
def test_bad_arrays_are_refused(tmp_path, array, message):
    np.save(tmp_path / "mine.npy", array)
    with pytest.raises(InputError, match=message):
        read_signal(tmp_path / "mine.npy", least=100)


@pytest.mark.parametrize("name", ["none.npy", "none.csv"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(InputError, match=f"There is no file .*{name}"):
        read_signal(tmp_path / name, least=1)


def test_columns_come_in_the_order_asked_for(tmp_path):
    (tmp_path / "a.csv").write_text("b,a\n1,2\n3,4\n")
    assert read_columns(tmp_path / "a.csv", ["a", "b"]).tolist() == [[2, 1], [4, 3]]
