"""The user's recordings of a sensor: one table with labels, or a folder of tables for each label.

A table has one column for each channel, and optionally times, labels, persons and recordings, as
sensor apps and spreadsheets write them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.common.command import InputError
from experiments.common.data.cells import AS_SHOWN, MISSING, is_number
from experiments.common.data.class_folders import find_classes
from experiments.common.data.records import clean_text
from experiments.common.data.tables import Table, list_columns, read_table
from experiments.common.data.user_files import quote
from experiments.exercises.own_times import UNIT, read_times

SUFFIXES = (".csv", ".tsv", ".txt")
ROLES = {  # what a column may be, and the names by which it is found
    "label": ("label", "activity", "class", "exercise", "movement"),
    "time": ("time", "timestamp", "seconds_elapsed", "seconds", "elapsed", "datetime", "date"),
    "person": ("person", "subject", "user", "participant"),
    "recording": ("recording", "session", "trial", "file"),
}
MOST_CHANNELS = 12
LEAST = 3  # files of a label
NUMBERING = ("index", "unnamed: 0", "row", "id", "sample")  # columns that count the rows
_KNOWN = {*NUMBERING, *(name for names in ROLES.values() for name in names)}


class Stretch(NamedTuple):
    """Rows of one recording that follow each other and have the same label."""

    times: np.ndarray  # float [L], seconds, increasing
    values: np.ndarray  # float [L, C], NaN where a cell is missing
    label: str
    person: str  # "" if unknown
    recording: str


class Tables(NamedTuple):
    """What was read."""

    stretches: list[Stretch]
    channels: list[str]
    has_persons: bool
    notes: list[str]  # one sentence per thing that the user may not expect


def parse_roles(columns: Sequence[str]) -> dict[str, list[str]]:
    """The columns of each role in the words of `--columns`, such as label=activity.

    Raises:
      InputError: a word is something else.
    """
    roles: dict[str, list[str]] = {}
    for word in columns:
        role, sign, name = word.partition("=")
        if not sign or not name or role not in (*ROLES, "channel"):
            raise InputError(
                f"--columns has {quote(word)}; a role and a column are expected, such as "
                f"label=activity; the roles are {', '.join(ROLES)} and channel."
            )
        roles.setdefault(role, []).append(name.strip())
    for role, names in roles.items():
        if role != "channel" and len(names) > 1:
            raise InputError(f"--columns names {len(names)} columns with the role {role}.")
    return roles


def read_labeled(path: Path, roles: Mapping[str, Sequence[str]], rate: float) -> Tables:
    """Reads a table with labels, or a folder with a subfolder of tables for each label.

    Args:
      path: the table or the folder.
      roles: the columns that the user named.
      rate: rows per second of a table without times.

    Raises:
      InputError: it cannot be read; the message says where.
    """
    if not path.is_dir():
        table = read_table(path)
        label = _find(table, "label", roles)
        if label is None:
            raise InputError(
                f"{path} has no column of labels; it has the columns {list_columns(table.header)}; "
                "name it with `--columns label=NAME`."
            )
        channels, left_out = find_channels(table, roles)
        return _read_one(table, channels, roles, rate, None, left_out)
    files = find_classes(path, _list_tables, "table", ", ".join(SUFFIXES), LEAST)
    parts, channels, first = [], [], path
    for label, paths in files.items():
        for file in paths:
            table = read_table(file)
            found, left_out = find_channels(table, roles)
            channels, first = (channels, first) if channels else (found, file)
            if set(found) != set(channels):
                odd = min(set(found) ^ set(channels))
                has, lacks = (file, first) if odd in found else (first, file)
                raise InputError(
                    f"{has} has the channel {quote(odd)}, but {lacks} does not; all tables need "
                    "the same channels: name them with `--columns channel=NAME ...`."
                )
            parts.append(_read_one(table, channels, roles, rate, (label, file.name), left_out))
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    stretches = [stretch for part in parts for stretch in part.stretches]
    return Tables(stretches, channels, all(part.has_persons for part in parts), notes)


def read_unlabeled(
    path: Path, channels: Sequence[str], roles: Mapping[str, Sequence[str]], rate: float
) -> Tables:
    """Reads a table with these channels; labels, if it has any, are ignored. See `read_labeled`."""
    table = read_table(path)
    if not table.rows:
        raise InputError(f"{table.path} has no rows below the header.")
    for name in channels:
        if name not in table.header:
            bare = [other for other in table.header if bare_name(other) == bare_name(name)]
            unit = f", and not {quote(bare[0])}" if bare else ""
            raise InputError(
                f"{path} has no column {quote(name)}, on which the model was trained{unit}; it has "
                f"the columns {list_columns(table.header)}."
            )
    found = {role: names for role, names in roles.items() if set(names) <= set(table.header)}
    return _read_one(table, channels, found, rate, ("", path.name), [])


def bare_name(column: str) -> str:
    """The name of a column in lower case, without a unit such as (m/s²)."""
    return UNIT.sub("", column).strip().casefold()


def _list_tables(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]


def _find(table: Table, role: str, roles: Mapping[str, Sequence[str]]) -> str | None:
    """The column with a role: the one that the user named, or one with a known name."""
    if role in roles:
        return table.check("--columns", roles[role][0])
    bare = {bare_name(column): column for column in reversed(table.header)}
    return next((bare[name] for name in ROLES[role] if name in bare), None)


def find_channels(table: Table, roles: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """The channels: those that the user named, or all columns of numbers without another role.

    Returns: their names, and a note on the columns that are left out.

    Raises:
      InputError: there is none, or there are more than `MOST_CHANNELS`, or no rows.
    """
    if not table.rows:
        raise InputError(f"{table.path} has no rows below the header.")
    if "channel" in roles:
        channels, texts = [table.check("--columns", name) for name in roles["channel"]], []
    else:
        taken = {_find(table, role, roles) for role in ROLES}
        free = [name for name in table.header if name and name not in taken]
        channels = [
            name
            for name in free
            if bare_name(name) not in _KNOWN and _is_numeric(table.cells(name))
        ]
        texts = [name for name in free if name not in channels]
    if not 1 <= len(channels) <= MOST_CHANNELS:
        raise InputError(
            f"{table.path} has {len(channels)} columns of numbers; 1 to {MOST_CHANNELS} channels "
            "are expected: name them with `--columns channel=NAME ...`."
        )
    notes = [f"These columns are left out: {list_columns(texts)}."] if texts else []
    return channels, notes


def _is_numeric(cells: Sequence[str]) -> bool:
    """Whether at least half of the cells that are filled hold numbers."""
    filled = [cell for cell in cells if cell.lower() not in MISSING]
    return 2 * sum(map(is_number, filled)) >= len(filled) > 0


def _read_one(
    table: Table,
    channels: Sequence[str],
    roles: Mapping[str, Sequence[str]],
    rate: float,
    whole: tuple[str, str] | None,
    notes: list[str],
) -> Tables:
    """The stretches of a table; `whole` is the label and the recording of all rows."""
    columns = [table.numbers_of(name, AS_SHOWN) for name in channels]
    values = np.stack([np.asarray(column.values, float) for column in columns], 1)
    if np.isnan(values).all(0).any():
        empty = channels[int(np.isnan(values).all(0).argmax())]
        raise InputError(f"Channel {quote(empty)} of {table.path} has no numbers.")
    times, time_notes = read_times(table, _find(table, "time", roles), rate)
    keys = {role: _texts(table, role, roles) for role in ("label", "person", "recording")}
    if whole is not None:
        keys["label"] = [whole[0]] * len(values)
        keys["recording"] = keys["recording"] or [whole[1]] * len(values)
    given = {role: cells for role, cells in keys.items() if cells}
    stretches = _cut(times, values, given, needs_label=whole is None)
    return Tables(stretches, list(channels), bool(keys["person"]), [*notes, *time_notes])


def _texts(table: Table, role: str, roles: Mapping[str, Sequence[str]]) -> list[str]:
    """The cells of a role; none if there is no such column."""
    name = _find(table, role, roles)
    return [clean_text(cell) for cell in table.cells(name)] if name else []


def _cut(
    times: np.ndarray, values: np.ndarray, keys: Mapping[str, Sequence[str]], needs_label: bool
) -> list[Stretch]:
    """Cuts rows where a key changes or the time goes back. Rows without a time are left out.

    Rows of one recording are sorted by time. Without a column of recordings, each stretch with one
    label is a recording of its own.
    """
    frame = pd.DataFrame({"label": "", "person": "", **keys, "time": times})
    if "recording" in frame:
        frame = frame.sort_values(["person", "recording", "time"], kind="stable")
    else:
        frame["recording"] = ""
    names = ["label", "person", "recording"]
    is_new = (frame[names] != frame[names].shift()).any(axis=1) | (frame["time"].diff() < 0)
    stretches = []
    for number, rows in frame.groupby(is_new.cumsum()):
        label, person, recording = rows.iloc[0][names]
        rows = rows.dropna(subset="time").drop_duplicates("time")
        if len(rows) and (label or not needs_label):
            moments, kept = rows["time"].to_numpy(), values[rows.index]
            stretches.append(Stretch(moments, kept, label, person, recording or str(number)))
    return stretches
