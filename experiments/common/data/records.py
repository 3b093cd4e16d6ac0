"""Examples of texts in the user's file: CSV, TSV or JSON lines.

A row has one text per field, such as a sentence and its label. Commas, semicolons, tabs or bars
separate the cells; a header may name them. Error messages name the line of the file.
"""

import csv
import hashlib
import io
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.common.command import InputError
from experiments.common.data.separators import SEPARATORS, find_separator
from experiments.common.data.user_files import quote, read_text
from experiments.common.report.counts import count

Fields = Mapping[str, Sequence[str]]  # the name of each field -> its other names in a header
_Rows = Iterator[tuple[int, list[str]]]  # the line where a row begins, and its cells


class Records(NamedTuple):
    """N examples of a file."""

    rows: list[tuple[str, ...]]  # the texts of each, in the order of the fields; none is empty
    lines: list[int]  # where each begins in the file, from 1
    notes: list[str]  # one sentence per thing that the user may not expect

    def column(self, field: int) -> list[str]:
        """The texts of one field."""
        return [row[field] for row in self.rows]

    def digest(self) -> str:
        """The sha256 of the examples, which does not depend on how the file is written."""
        return hashlib.sha256(json.dumps(self.rows).encode()).hexdigest()


def clean_text(text: str) -> str:
    """The text in Unicode's composed form (NFC), with single spaces between words."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def read_records(path: Path, fields: Fields, columns: Sequence[str] | None = None) -> Records:
    """Reads the examples of a file, see `clean_text`. Rows that lack a text are left out.

    Args:
      path: JSON lines if its name ends with .jsonl, .ndjson or .json, else a table.
      fields: the fields.
      columns: the names of the fields in this file; None: those of `fields`, or a table without a
        header that has exactly these columns.

    Raises:
      InputError: a row cannot be read, or a column is missing; the message says where.
    """
    if columns is not None and len(columns) != len(fields):
        raise InputError(f"`--columns` has {count(len(columns), 'name')}; expected {len(fields)}.")
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty; expected rows with {_join(fields)}.")
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        return _complete(path, fields, _json_rows(path, text, fields, columns), [])
    separator = find_separator(text, len(fields))
    if separator is None:
        raise InputError(
            f"{path} has one column; expected {_join(fields)}, separated by a comma, semicolon, "
            "tab or bar."
        )
    rows = _table_rows(path, text, separator)
    line, first = next(rows, (1, []))
    places = _find_columns(path, first, fields, columns)
    notes = [f"{path} is read as a table separated by {SEPARATORS[separator]}."]
    if places is None:
        notes.append(f"It has no header: line {line} is read as an example.")
        places, rows = list(range(len(fields))), _table_rows(path, text, separator)
        width = len(fields)
    else:
        width = len(first)
    return _complete(path, fields, _pick(path, rows, places, width), notes)


def _complete(path: Path, fields: Fields, rows: _Rows, notes: list[str]) -> Records:
    """Collects the rows that have a text in every field."""
    kept, lines, lacking = [], [], []
    for line, cells in rows:
        cleaned = tuple(map(clean_text, cells))
        if all(cleaned):
            kept.append(cleaned)
            lines.append(line)
        elif any(cleaned):
            lacking.append(line)
    if not kept:
        raise InputError(f"{path} has no row with {_join(fields)}.")
    if lacking:
        what = " or ".join(map(_with_article, fields))
        rows = count(len(lacking), "row")
        notes.append(f"Left out: {rows} without {what}, first in line {lacking[0]}.")
    return Records(kept, lines, notes)


def _json_rows(path: Path, text: str, fields: Fields, columns: Sequence[str] | None) -> _Rows:
    """The values of the fields in each line; "" where one is missing."""
    names = [[name] for name in columns] if columns else [[n, *fields[n]] for n in fields]
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise InputError(f'{path}, line {line}, is no JSON object, such as {{"a": "b"}}.')
        yield line, [_json_text(path, line, record, known) for known in names]


def _json_text(path: Path, line: int, record: dict[str, Any], names: Sequence[str]) -> str:
    name = next((name for name in names if name in record), names[0])
    value = record.get(name, "")
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = " ".join(value)
    if isinstance(value, list | dict):
        raise InputError(f"{path}, line {line}: {name!r} is no text.")
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _table_rows(path: Path, text: str, separator: str) -> _Rows:
    """The rows that are not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{path}: the row that begins in line {line} is not readable ({error}); quotes "
                'within a quoted cell are doubled: "".'
            ) from None
        if any(cells):
            yield line, cells


def _find_columns(
    path: Path, first: Sequence[str], fields: Fields, columns: Sequence[str] | None
) -> list[int] | None:
    """The places of the fields in the rows, by the names in the first row; None: it has none."""
    header = [name.casefold() for name in first]
    names = [[name] for name in columns] if columns else [[n, *fields[n]] for n in fields]
    found = [
        next((header.index(n.casefold()) for n in x if n.casefold() in header), None) for x in names
    ]
    if None not in found:
        return found
    if columns is None and found.count(None) == len(found) and len(first) == len(fields):
        return None
    missing = names[found.index(None)][0]
    raise InputError(
        f"{path}, line 1, has no column {missing!r}, but {', '.join(map(quote, first))}; name "
        f"the columns of {_join(fields)} with `--columns`."
    )


def _pick(path: Path, rows: _Rows, places: Sequence[int], width: int) -> _Rows:
    """The cells at these places; "" past the end of a row."""
    for line, cells in rows:
        if any(cells[width:]):
            raise InputError(
                f"{path}, line {line}, has {count(len(cells), 'cell')}, but {width} are expected; "
                "a text that contains the separator is put in quotes."
            )
        yield line, [cells[place] if place < len(cells) else "" for place in places]


def _join(fields: Fields) -> str:
    return " and ".join(map(_with_article, fields))


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
