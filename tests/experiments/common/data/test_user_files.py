"""What is refused before it is read."""

import io
import os

import pytest

from experiments.common.command import InputError
from experiments.common.data import user_files
from experiments.common.data.user_files import check_file, read_standard_input, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_a_text_is_read_in_the_encodings_of_editors_and_spreadsheets(tmp_path, capsys, encoding):
    text = "grün\r\ncafé\n" + ("5 €" if encoding == "cp1252" else "")
    (tmp_path / "a").write_bytes(text.encode(encoding))
    assert read_text(tmp_path / "a") == text
    note = "a is not in UTF-8; it is read as Windows-1252." in capsys.readouterr().err
    assert note == (encoding in ("latin-1", "cp1252"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"one\ngr\xc3\xbcn caf\xc3\xa9 \xfc",
            "line 2, is not a text file in UTF-8: invalid start b",
        ),
        (b"a\n\n\x81", "line 3, is not a text file in UTF-8: invalid start byte at byte 3"),
        ("grün".encode("utf-16")[:-1], "line 1, is not a text file in UTF-16"),
        (b"a\n\0b", r"line 2, is not text: it has the control character '\\x00'"),
        (b"\x89PNG\r\n\x1a\n\0\0", r"line 2, is not text: it has the control character '\\x1a'"),
    ],
)
def test_what_is_no_text_is_refused_by_its_first_such_line(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=f"a, {message}"):
        read_text(tmp_path / "a")


def test_what_is_no_file_is_refused_by_what_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    (tmp_path / "a").touch()
    for name, error, message in (
        ("none", InputError, "There is no file .*none"),
        ("a/b", InputError, "There is no file .*a/b"),
        (".", InputError, "is a folder; a file is expected"),
        ("pipe", InputError, "is a device or a pipe"),
        ("a\0b", InputError, "cannot be read: .*null"),
        ("a" * 300, InputError, "cannot be read: File name too long"),
    ):
        with pytest.raises(error, match=message):
            check_file(tmp_path / name)
    with pytest.raises(InputError, match="is a device or a pipe"):
        check_file(user_files.Path("/dev/zero"))


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "a").touch()

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(user_files.Path, "read_bytes", refuse)
    with pytest.raises(InputError, match="a' cannot be read: Permission denied"):
        read_text(tmp_path / "a")


def test_a_larger_file_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_text(tmp_path / "a", 5) == "12345"
    with pytest.raises(InputError, match="has 5 bytes; at most 4 are read"):
        read_text(tmp_path / "a", 4)


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\xff"), "utf-8"))
    with pytest.raises(InputError, match="Standard input is not a text file in UTF-8"):
        read_standard_input()
