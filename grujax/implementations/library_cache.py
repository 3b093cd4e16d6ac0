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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        return Path.home() / ".cache" / "grujax" / "kernels"
    except (RuntimeError, KeyError, OSError) as error:
        raise KernelError(
            "There is no home directory for compiled kernels: set XDG_CACHE_HOME."
        ) from error


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
    """Lets one process at a time build a library. Creates the folder."""
    directory = cache_directory()
    try:
        import fcntl  # not available on Windows, where grujax uses the scan

        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        check_private(directory)
        file = (directory / "lock").open("w")
    except OSError as error:
        raise KernelError(f"{directory} is not writable: {error}") from error
    except ImportError as error:
        raise KernelError("The kernel can only be built on Linux and macOS.") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield
