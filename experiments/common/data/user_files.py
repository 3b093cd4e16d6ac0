"""The user's files: each is looked at before it is read, and refused in one sentence."""

import os
import stat
import sys
from pathlib import Path

from experiments.common.command import InputError

LIMIT = 10**9  # bytes of a file, and of the numbers that it holds


def check_file(path: Path, limit: int = LIMIT) -> None:
    """Looks at a file that is to be read.

    Args:
      path: the file.
      limit: the largest number of bytes.

    Raises:
      FileNotFoundError: it does not exist.
      InputError: it is no file, cannot be read, or is too large.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"There is no file {path}.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
        raise InputError(f"{path} is {kind}; a file is expected.")
    if status.st_size > limit:
        raise InputError(f"{path} has {status.st_size:,} bytes; at most {limit:,} are read.")


def read_text(path: Path, limit: int = LIMIT) -> str:
    """Reads a text file in UTF-8, with or without a byte order mark.

    Args:
      path: the file.
      limit: the largest number of bytes.

    Raises:
      FileNotFoundError: it does not exist.
      InputError: it is no text file in UTF-8, or as `check_file`.
    """
    check_file(path, limit)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    if b"\0" in content:
        at = content.index(b"\0")
        raise InputError(f"{path} is not a text file in UTF-8: byte {at} is NUL.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _undecodable(str(path), error) from None


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
