"""Where compiled kernels are cached, and how the cache names them.

Kernels that are compiled on the machine that runs them are cached in
`$XDG_CACHE_HOME/grujax/kernels` or `~/.cache/grujax/kernels`. A file's name contains a digest of
everything that the file depends on, so a home directory that different machines share holds one
file for each of them. The folder belongs to the user alone, for what is in it is run.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCK_SECONDS = 600  # the longest wait for another process that builds


class KernelError(RuntimeError):
    """A kernel cannot be compiled or loaded. The message is a full sentence that says why."""


def cache_directory() -> Path:
    """The folder of compiled kernels. It may not exist yet.

    Raises:
        KernelError: if nothing says where the user's files are.
    """
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(chosen):  # other paths are to be ignored, says the standard
        return Path(chosen) / "grujax" / "kernels"
    try:
        home = Path.home()
    except (RuntimeError, KeyError, OSError) as error:
        raise KernelError(
            "There is no home directory for compiled kernels: set XDG_CACHE_HOME."
        ) from error
    if not home.is_absolute():  # what is in it would depend on the working directory
        raise KernelError(
            f"HOME is no absolute path, but {str(home)!r}, so there is no folder for compiled "
            "kernels: set HOME or XDG_CACHE_HOME."
        )
    return home / ".cache" / "grujax" / "kernels"


def check_private(path: Path) -> None:
    """Checks that nobody else can change this file of the cache, or replace it.

    Raises:
        KernelError: if it, or a folder of the cache, is a symbolic link, belongs to somebody else,
            or can be written by others.
    """
    folder = cache_directory()
    for part in {folder.parent, folder, path}:
        try:
            status = os.lstat(part)
        except OSError as error:
            raise KernelError(f"{part} cannot be read: {error}.") from error
        if stat.S_ISLNK(status.st_mode):
            raise KernelError(f"{part} is a symbolic link, which the cache does not follow.")
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            raise KernelError(f"{part} belongs to another user.")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise KernelError(f"Other users can write to {part}: `chmod go-w {part}` forbids it.")


def digest(*texts: str) -> str:
    """16 hexadecimal digits that depend on every text."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def read_sources(folder: Path, *suffixes: str) -> dict[str, str]:
    """The text of each file in `folder` with one of these suffixes, by its name, sorted."""
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(folder.iterdir())
        if path.suffix in suffixes
    }


@contextmanager
def lock_cache() -> Iterator[None]:
    """Lets one process at a time build a library. Creates the folder.

    The lock only saves work: a library is renamed into its place when it is whole. So nobody waits
    where the file system has no locks, or after another process has held the lock for too long.

    Raises:
        KernelError: if the folder cannot be written, or others can write to it.
    """
    directory = cache_directory()
    try:
        import fcntl  # not available on Windows, where grujax uses the scan
    except ImportError as error:
        raise KernelError("The kernel can only be built on Linux and macOS.") from error
    try:
        directory.parents[1].mkdir(parents=True, exist_ok=True)
        for folder in (directory.parent, directory):
            folder.mkdir(mode=0o700, exist_ok=True)
        check_private(directory)
        # Whatever is there instead of the file: a link is not followed, and a FIFO does not block.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(directory / "lock", flags, 0o600)
    except OSError as error:
        raise KernelError(f"{directory} is not writable: {error}") from error
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _take(fcntl, file) and time.monotonic() < deadline:
            time.sleep(0.1)
        yield
    finally:
        os.close(file)  # releases the lock


def _take(fcntl: Any, file: int) -> bool:
    """Takes the lock, if nobody has it; True as well where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some file systems of clusters have none
        return True
    return True
