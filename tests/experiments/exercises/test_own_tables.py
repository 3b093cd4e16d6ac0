"""Tables of a sensor, as phones and spreadsheets write them; times, labels, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from experiments.common.command import InputError
from experiments.exercises.own_tables import (
    find_channels,
    parse_roles,
    read_labeled,
    read_table,
    read_unlabeled,
)
from tests.fixtures.own.sensors import as_rows, move

TIMES, VALUES = move("circle", 2, seed=0)
HEADER = ["time (s)", "Acceleration x (m/s^2)", "y", "z", "Activity", "subject"]


def write(path, rows, separator=",", decimal=".", encoding="utf-8", newline="\n"):
    lines = (separator.join(cell.replace(".", decimal) for cell in row) for row in rows)
    path.write_text(newline.join(lines) + newline, encoding)
    return path


@pytest.mark.parametrize(
    ("separator", "decimal", "encoding", "newline"),
    [(",", ".", "utf-8", "\n"), (";", ",", "utf-16", "\r\n"), ("\t", ",", "utf-8-sig", "\r\n")],
)
def test_a_table_in_any_notation(tmp_path, separator, decimal, encoding, newline):
    rows = [HEADER, *as_rows(TIMES, VALUES, "walk  slowly", "A")]
    rows[5][1] = ""
    rows[9][2] = "n/a"
    path = write(tmp_path / "a.csv", rows, separator, decimal, encoding, newline)
    tables = read_labeled(path, {}, 50)
    (stretch,) = tables.stretches
    assert tables.channels == HEADER[1:4]
    assert tables.has_persons
    assert (stretch.label, stretch.person) == ("walk slowly", "A")
    np.testing.assert_allclose(stretch.times, TIMES, atol=1e-4)
    assert np.argwhere(np.isnan(stretch.values)).tolist() == [[4, 0], [8, 1]]
    known = np.isfinite(stretch.values)
    np.testing.assert_allclose(stretch.values[known], VALUES[known], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "unit", "start", "note"),
    [
        ("time", 1, 0, "Column 'time' is read as seconds."),
        ("Time [ms]", 1e3, 0, None),
        ("timestamp", 1e3, 1.7e12, "Column 'timestamp' is read as milliseconds."),
        ("timestamp", 1e9, 1.2e14, "Column 'timestamp' is read as nanoseconds."),
        ("elapsed_us", 1e6, 0, None),
        ("time", 1, 1.7e9, "Column 'time' is read as seconds."),
    ],
)
def test_units_of_time(tmp_path, name, unit, start, note):
    rows = [[f"{start + unit * time:.6f}", f"{i}", "a"] for i, time in enumerate(TIMES)]
    path = write(tmp_path / "a.csv", [[name, "x", "label"], *rows])
    tables = read_labeled(path, {}, 50)
    np.testing.assert_allclose(tables.stretches[0].times, TIMES - TIMES[0], atol=1e-4)
    assert tables.notes == ([note] if note else [])


def test_times_with_dates_in_the_iso_form(tmp_path):
    """Phones leave out the fraction of whole seconds."""
    moments = pd.Timestamp("2026-03-01T10:00:00") + pd.to_timedelta(np.arange(80) * 50, "ms")
    cells = [f"{moment.isoformat(timespec='milliseconds')}Z" for moment in moments]
    cells = [cell.replace(".000Z", "Z") for cell in cells]
    rows = [[cell, f"{i}", "a"] for i, cell in enumerate(cells)]
    tables = read_labeled(write(tmp_path / "a.csv", [["Date", "x", "class"], *rows]), {}, 50)
    np.testing.assert_allclose(tables.stretches[0].times, np.arange(80) / 20, atol=1e-6)


def test_stretches_of_a_table(tmp_path):
    """A new label begins a recording; rows without a label belong to none, with no time as well."""
    rows = [["ms_since", "x", "label", "note"]]
    labels = ["a"] * 5 + [""] * 2 + ["a"] * 3 + ["b"] * 4
    rows += [[str(20 * i), str(i), label, "wet"] for i, label in enumerate(labels)]
    rows[2][0] = ""
    rows[14][0] = "5"  # the clock goes back
    path = write(tmp_path / "a.csv", rows)
    tables = read_labeled(path, {"time": ["ms_since"]}, 50)
    sizes = [(stretch.label, len(stretch.times)) for stretch in tables.stretches]
    assert sizes == [("a", 4), ("a", 3), ("b", 3), ("b", 1)]
    assert len({stretch.recording for stretch in tables.stretches}) == 4
    assert tables.notes == [
        "These columns are left out: note.",
        "Left out: 1 row without a time.",
        "Column 'ms_since' is read as milliseconds.",
    ]


def test_rows_of_recordings_that_are_mixed(tmp_path):
    """With a column of recordings, each is sorted by time, and rows with equal times count once."""
    rows = [["time", "x", "label", "session"]]
    rows += [[f"{t / 50}", f"{t}", "ab"[t % 2], f"s{t % 2}"] for t in (4, 1, 2, 3, 0, 5, 2)]
    tables = read_labeled(write(tmp_path / "a.csv", rows), {}, 50)
    found = {s.recording: s.values[:, 0].tolist() for s in tables.stretches}
    assert found == {"s0": [0, 2, 4], "s1": [1, 3, 5]}


def test_roles_and_channels_by_name(tmp_path):
    rows = [["t", "what", "ax", "ay", "battery", "index"], ["1", "run", "2", "3", "90", "0"]]
    path = write(tmp_path / "a.csv", rows)
    roles = parse_roles(["label=what", "time=t", "channel=ax", "channel=ay"])
    tables = read_labeled(path, roles, 50)
    assert tables.channels == ["ax", "ay"]
    channels, _ = find_channels(read_table(path), parse_roles(["label=what", "time=t"]))
    assert channels == ["ax", "ay", "battery"]
    for words, message in (
        (
            ["activity"],
            r"--columns has 'activity'; .* such as label=activity; the roles are label,",
        ),
        (["unit=g"], "--columns has 'unit=g'"),
        (["time=a", "time=b"], "--columns names 2 columns with the role time"),
    ):
        with pytest.raises(InputError, match=message):
            parse_roles(words)


def test_a_folder_of_labels(tmp_path):
    for label in ("run", "walk"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        for number in range(3):
            rows = [["x", "y"], *as_rows(VALUES[:, 0], VALUES[:, 1])]
            write(tmp_path / "mine" / label / f"{number}.CSV", rows)
    tables = read_labeled(tmp_path / "mine", {}, rate=25)
    assert [stretch.label for stretch in tables.stretches] == ["run"] * 3 + ["walk"] * 3
    assert tables.notes == ["Without a column of times, 25 rows are a second; `--rate` changes it."]
    np.testing.assert_allclose(np.diff(tables.stretches[0].times), 0.04)
    write(tmp_path / "mine" / "walk" / "4.csv", [["x", "z"], ["1", "2"]])
    with pytest.raises(InputError, match=r"0\.CSV has the channel 'y', but .*4\.csv does not; all"):
        read_labeled(tmp_path / "mine", {}, 50)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["x", "y"], ["1", "2"]], r"has no column of labels; it has the columns x, y; name it"),
        (
            [["label", "note"], ["a", "b"]],
            "has 0 columns of numbers; 1 to 12 channels are expected",
        ),
        ([["label", "x"]], "has no rows below the header"),
        ([["label", *map(str, range(13))], ["a", *"1234567890123"]], "has 13 columns of numbers"),
        ([["label", "x"], ["a", "1"], ["a", "2"], ["a", "fast"]], r"'fast' in row 4, which is not"),
        ([["label", "time", "x"], ["a", "", "1"]], "Column 'time' of .* has no times"),
        ([["label", "time", "x"], ["a", "10:70", "1"]], "'10:70' in row 2, which is not a time"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_labeled(write(tmp_path / "a.csv", rows), {}, 50)


def test_a_table_to_classify_needs_the_channels_in_their_units(tmp_path):
    path = write(tmp_path / "a.csv", [["az (g)", "activity"], ["1", "run"], ["2", "walk"]])
    (stretch,) = read_unlabeled(path, ["az (g)"], {"label": ["what"]}, 50).stretches
    assert stretch.values.tolist() == [[1], [2]]
    with pytest.raises(InputError, match=r"no column 'az \(m/s²\)', .* and not 'az \(g\)'; it has"):
        read_unlabeled(path, ["az (m/s²)"], {}, 50)
