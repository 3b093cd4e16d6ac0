"""One process at a time in a directory, or one for each share of a sweep.

The locks belong to open files, so the system releases them when a process dies, however it dies.
The files remain: a name that comes and goes can be locked twice.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from grujax.sweep.progress import warn
from grujax.sweep.storage.files import told

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


@contextmanager
def locked(directory: Path | None, process: int = 0, processes: int = 1) -> Iterator[None]:
    """Keeps other processes out of a directory, which is created; None is no directory.

    A process that is alone shares with nobody; one of several shares with the others, but not with
    a second one of its own number. A directory that is read-only needs no lock. Where the system
    cannot lock, a warning says so.

    Raises:
        ValueError: another process works there, or the directory cannot be created.
    """
    with ExitStack() as stack:
        if directory is not None:
            if directory.exists() and not directory.is_dir():
                raise ValueError(f"`directory` {directory} is a file, not a folder.")
            with told(directory, "created"):
                directory.mkdir(parents=True, exist_ok=True)
            alone = processes == 1
            _lock(stack, directory, "sweep.lock", exclusive=alone)
            if not alone:
                _lock(stack, directory, f"process-{process}.lock", exclusive=True)
        yield


def check_writable(directory: Path, missing: str) -> None:
    """Raises ValueError if results that are `missing` could not be written."""
    path = directory / "sweep.lock"
    try:
        path.open("ab").close()
    except OSError as error:
        raise ValueError(
            f"`directory` {directory} lacks {missing}, and cannot be written: "
            f"{error.strerror or error}."
        ) from error


def _lock(stack: ExitStack, directory: Path, name: str, *, exclusive: bool) -> None:
    """Locks a file until the stack closes, and notes in it who does."""
    path = directory / name
    try:
        file = stack.enter_context(path.open("a+b"))
    except OSError as error:
        if error.errno in _READ_ONLY:
            return
        raise ValueError(f"{path} cannot be opened: {error.strerror or error}.") from error
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "this system has no `flock`")
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise ValueError(
                f"`directory` {directory} is in use{_holder(file)}: wait until that run ends, or "
                "choose another directory. Processes that share one sweep need different numbers "
                "`process`, and the same `processes`."
            ) from error
        warn(
            f"{directory} cannot be locked ({error.strerror or error}): make sure that no other "
            "process uses it."
        )
        return
    with suppress(OSError):  # a full disk
        file.truncate(0)
        if exclusive:
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            file.flush()


def _holder(file: IO[Any]) -> str:
    with suppress(OSError):
        file.seek(0)
        text = file.read(200).decode(errors="replace")
        return f" by {text}" if text else ""
    return ""
