"""Files of records, such as lines of text, to which several programs append one after another."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path


def append_lines(path: Path, text: str) -> None:
    """Appends lines of text, see `append_bytes`."""
    append_bytes(path, text.encode())


def append_bytes(path: Path, content: bytes) -> None:
    """Appends to a file in one write. Its folder is created if it does not exist."""
    try:
        file = path.open("ab", buffering=0)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab", buffering=0)
    with file:
        rest = memoryview(content)
        while rest:  # a signal can cut a write short
            rest = rest[file.write(rest) :]


def keep_lines(path: Path, is_kept: Callable[[str], bool], *, header: bool = False) -> None:
    """Removes all other lines, and a last one that a killed program left unfinished.

    The file is replaced as a whole, and stays as it is if nothing is to be removed.

    Args:
        path: the file; it may be missing.
        is_kept: whether a line stays, given with its line break.
        header: the first line stays in any case.
    """
    if not path.exists():
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    removed = 0
    try:
        with (
            path.open(encoding="utf-8", newline="") as old,
            temporary.open("w", encoding="utf-8", newline="") as new,
        ):
            for number, line in enumerate(old):
                is_header = header and number == 0
                if line.endswith("\n") and (is_header or is_kept(line)):
                    new.write(line)
                else:
                    removed += 1
        if removed:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
