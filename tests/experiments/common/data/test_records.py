"""Files of examples, as a spreadsheet, an editor or a program writes them."""

import json

import pytest

from experiments.common.command import InputError
from experiments.common.data.records import read_records

FIELDS = {"text": ("sentence", "review"), "label": ("class",)}
ROWS = [("Très bien, merci; oui", "gut"), ('Sie sagte "nein"', "schlecht"), ("à\tb | c", "gut")]


@pytest.fixture
def read(tmp_path):
    def read(content, name="a.csv", encoding="utf-8", **options):
        (tmp_path / name).write_bytes(content.encode(encoding))
        return read_records(tmp_path / name, FIELDS, **options)

    return read


def spreadsheet(rows, separator, end) -> str:
    """A table with quotes where they are needed."""
    special = (separator, '"')
    cells = [
        ['"{}"'.format(c.replace('"', '""')) if any(s in c for s in special) else c for c in row]
        for row in rows
    ]
    return "".join(separator.join(row) + end for row in cells)


@pytest.mark.parametrize("header", [[("Text", "LABEL")], [("review", "class")], []])
@pytest.mark.parametrize(
    ("separator", "end", "encoding"),
    [
        (",", "\n", "utf-8"),
        (";", "\r\n", "utf-8-sig"),
        (";", "\r\n", "cp1252"),
        ("\t", "\r\n", "utf-16"),
        ("|", "\r", "utf-8"),
    ],
)
def test_tables_of_spreadsheets(read, header, separator, end, encoding):
    records = read(spreadsheet([*header, *ROWS], separator, end), encoding=encoding)
    assert records.rows == [(text.replace("\t", " "), label) for text, label in ROWS]
    assert records.lines == [1 + len(header) + i for i in range(3)]
    assert records.column(1) == ["gut", "schlecht", "gut"]
    assert any("line 1 is read as an example" in note for note in records.notes) == (not header)


def test_other_columns_blank_rows_and_missing_cells(read):
    text = 'id;label;text;\n1;good;"two\nlines";\n\n;;;\n2;;no label;\n3;bad\n4;bad;  fine  ;\n'
    records = read(text)
    assert records.rows == [("two lines", "good"), ("fine", "bad")]
    assert records.lines == [2, 8]
    assert records.notes[1] == ("Left out: 2 rows without a text or a label, first in line 6.")
    assert read(text, columns=("id", "text")).rows[1] == ("2", "no label")


def test_json_lines(read):
    lines = [
        {"label": True, "text": "é"},
        {"text": "x", "label": None},
        {"sentence": "y", "class": 3},
    ]
    text = "\n".join(map(json.dumps, lines)) + "\n\n"
    assert read(text, "a.jsonl").rows == [("é", "true"), ("y", "3")]
    assert read('{"a": ["b", "c"], "d": "e"}', "a.jsonl", columns=("a", "d")).rows == [("b c", "e")]


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.csv", "", {}, "is empty; expected rows with a text and a label"),
        ("a.csv", "text\nfine\n", {}, "has one column"),
        ("a.csv", "text,label\n\n,\n", {}, "has no row with a text and a label"),
        (
            "a.csv",
            "text,stars\nfine,5\n",
            {},
            "line 1, has no column 'label', but 'text', 'stars'; na",
        ),
        ("a.csv", "fine,5,x\nbad,1,y\n", {}, "line 1, has no column 'text', but 'fine', '5', 'x'"),
        ("a.csv", "text,label\na,b\n", {"columns": ("t", "label")}, "line 1, has no column 't'"),
        (
            "a.csv",
            "text,label\na,b\n",
            {"columns": ("text",)},
            "`--columns` has 1 name; expected 2",
        ),
        ("a.csv", "text,label\nfine,1\nwell, fine,1\n", {}, "line 3, has 3 cells, but 2 are exp"),
        (
            "a.csv",
            'text,label\nfine,1\n"no end,1\n',
            {},
            "row that begins in line 3 is not readable",
        ),
        ("a.jsonl", '{"text": "a", "label": "b"}\n[1]\n', {}, "line 2, is no JSON object"),
        ("a.jsonl", '{"text": {}, "label": "b"}\n', {}, "line 1: 'text' is no text"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(read, name, text, options, message):
    with pytest.raises(InputError, match=message):
        read(text, name, **options)
