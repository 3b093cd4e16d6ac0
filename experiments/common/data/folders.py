"""The folders of data, and the error of data that are not available."""

import os
from pathlib import Path


class DataError(RuntimeError):
    """Data are not available; the message says which file to place where, or what to change."""


def cache_directory() -> Path:
    """Returns the folder of downloaded archives (it may not exist yet)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grujax"


def provided_directory() -> Path | None:
    """Returns the folder that GRUJAX_DATA names, if any.

    Raises:
      DataError: it is not a folder.
    """
    provided = os.environ.get("GRUJAX_DATA")
    if not provided:
        return None
    if os.path.exists(provided) and not os.path.isdir(provided):
        raise DataError(f"GRUJAX_DATA is {provided}, which is not a folder.")
    return Path(provided)


def unwritable(folder: Path, error: OSError) -> DataError:
    """The error of a folder of downloads that cannot be written."""
    return DataError(
        f"Downloads cannot be kept in {folder} ({error.strerror or error}); the environment "
        "variable XDG_CACHE_HOME may name another folder for the folder grujax."
    )
