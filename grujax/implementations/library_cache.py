"""Where compiled kernels are cached, and how the cache names them.

Kernels are compiled on the machine that runs them, and cached in `$XDG_CACHE_HOME/grujax/kernels`
or `~/.cache/grujax/kernels`. A file's name contains a digest of everything that the file depends
on, so a home directory that different machines share holds one file for each of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class KernelError(RuntimeError):
    """A kernel cannot be compiled or loaded. The message is a full sentence that says why."""


def cache_directory() -> Path:
    """The folder of compiled kernels. It may not exist yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "grujax" / "kernels"


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

        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / "lock").open("w")
    except OSError as error:
        raise KernelError(f"{directory} is not writable: {error}") from error
    except ImportError as error:
        raise KernelError("The kernel can only be built on Linux and macOS.") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield
