"""Saving results while a sweep runs, on a disk that may refuse them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from grujax.sweep.progress import warn

T = TypeVar("T")


class Saver(Generic[T]):
    """Writes results as they come. What the disk refuses waits, and is tried again with the next.

    A full disk must not end a sweep that has computed for hours: the result is in memory.
    """

    def __init__(self, write: Callable[[T], None] | None):
        """
        Args:
            write: writes one result, or raises OSError; None saves nothing.
        """
        self._write = write
        self._reason = ""
        self.waiting: list[T] = []

    def save(self, result: T) -> None:
        """Writes all results that wait, and this one. A first failure is a warning."""
        if self._write is None:
            return
        self.waiting.append(result)
        try:
            while self.waiting:
                self._write(self.waiting[0])
                self.waiting.pop(0)
        except OSError as error:
            if not self._reason:
                warn(f"{error.strerror or error}. The sweep goes on, and tries to save it again.")
            self._reason = error.strerror or str(error)

    def warn_of(self, lost: str) -> None:
        """Warns that, at the end, something is only in the result, if results still wait."""
        if self.waiting:
            warn(f"{lost}: {self._reason}. This call returns the only copy.")
