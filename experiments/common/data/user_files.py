"""The user's files: each is looked at before it is read, and refused in one sentence."""

import codecs
import os
import re
import stat
import sys
from pathlib import Path

from experiments.common.command import InputError

LIMIT = 10**9  # bytes of a file, and of the numbers that it holds
SHOWN = 60  # the characters of a text that a message shows at most
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")  # not tab, line and page ends


def check_file(path: Path, limit: int = LIMIT) -> None:
    """Looks at a file that is to be read.

    Args:
      path: the file.
      limit: the largest number of bytes.

    Raises:
      InputError: it does not exist, is no file, cannot be read, or is too large.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"There is no file {path}.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
        raise InputError(f"{path} is {kind}; a file is expected.")
    if status.st_size > limit:
        raise InputError(f"{path} has {status.st_size:,} bytes; at most {limit:,} are read.")


def read_text(path: Path, limit: int = LIMIT) -> str:
    """Reads a text file as editors and spreadsheets write it.

    It is in UTF-8, with or without a byte order mark, or in UTF-16 with one. Other files are read
    as Windows-1252, which contains Latin-1, with a note on standard error.

    Args:
      path: the file.
      limit: the largest number of bytes.

    Raises:
      InputError: it is no text file in these encodings, or as `check_file`.
    """
    check_file(path, limit)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        text = "" if is_utf_16 else _decode_windows(content)
        if not text:
            line = content.count(b"\n", 0, error.start) + 1
            raise _undecodable(f"{path}, line {line},", error) from None
        print(f"note: {path} is not in UTF-8; it is read as Windows-1252.", file=sys.stderr)
    if found := _CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise InputError(
            f"{path}, line {line}, is not text: it has the control character {found[0]!r}."
        )
    return text


def shorten(text: str) -> str:
    """A text, as much of it as fits in a message."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def quote(text: str) -> str:
    """The same in quotes."""
    return repr(shorten(text))


def own_directory(out: Path, own: Path) -> Path:
    """The folder, in `out`, of the training on the user's file or folder `own`."""
    path = own.resolve()
    return out / f"own-{path.stem if path.is_file() else path.name}"


def _decode_windows(content: bytes) -> str:
    """Decodes Windows-1252; "" if the bytes are not that, or rather damaged UTF-8."""
    parts = content.decode("utf-8", "surrogateescape")
    invalid = sum("\udc80" <= character <= "\udcff" for character in parts)
    if 2 * invalid <= sum(character > "\x7f" for character in parts):
        return ""
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return ""


def read_standard_input() -> str:
    """Reads the text on standard input.

    Raises:
      InputError: it has another encoding than that of the terminal, or is no text.
    """
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise _undecodable("Standard input", error) from None


def _undecodable(name: str, error: UnicodeDecodeError) -> InputError:
    encoding = error.encoding.upper()
    return InputError(
        f"{name} is not a text file in {encoding}: {error.reason} at byte {error.start}."
    )


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else error
    return InputError(f"{str(path)!r} cannot be read: {reason}.")
