"""Files: written atomically, found by their number, and moved aside if they are damaged."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from grujax.sweep.progress import warn


class Damage(NamedTuple):
    """A damaged file."""

    path: Path
    reason: str  # a sentence that names the file


@contextmanager
def told(path: Path, participle: str) -> Iterator[None]:
    """Turns the system's errors into a ValueError: "PATH cannot be PARTICIPLE: REASON."."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path} cannot be {participle}: {error.strerror or error}.") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file as a whole or not at all; afterwards it survives the process and the machine.

    Raises:
        OSError: with the name of the file; the previous content remains.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        if os.name == "posix":  # the name itself is on disk once its folder is
            _sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"{path} cannot be written: {reason}") from error


def numbered_files(directory: Path, kind: str) -> list[Path]:
    """The files `KIND-NUMBER.npz`, ordered by number.

    Raises:
        ValueError: the directory cannot be read.
    """
    with told(directory, "read"):
        names = os.listdir(directory)
    matches = [re.fullmatch(rf"{kind}-(\d+)\.npz", name) for name in names]
    numbers = {int(match[1]): match[0] for match in matches if match}
    return [directory / name for _, name in sorted(numbers.items())]


def set_aside(damages: Sequence[Damage], effect: str) -> None:
    """Renames damaged files to `NAME.damaged`, each with a warning that ends with the effect.

    Raises:
        ValueError: a file cannot be renamed.
    """
    for path, reason in damages:
        target, number = path.with_name(f"{path.name}.damaged"), 1
        while target.exists():
            number += 1
            target = path.with_name(f"{path.name}.damaged-{number}")
        with told(path, "moved aside, though it is damaged"), suppress(FileNotFoundError):
            path.rename(target)  # unless another process has done it
        warn(f"{reason} It is now {target.name}, and {effect}.")


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
