"""In what order arrays over time lie in memory for those who use them.

The core is time-major, `[T, B, ...]`. A view of it that is batch-major transposes what it gives and
gets, and a kernel that takes strides can undo that, so that XLA leaves out both. It changes no
result, so it is not an argument of every function between.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_is_batch_major = ContextVar("grujax_batch_major", default=False)


def is_batch_major() -> bool:
    """Whether arrays `[T, B, ...]` are transposed from and to `[B, T, ...]` around this call."""
    return _is_batch_major.get()


@contextlib.contextmanager
def batch_major(is_so: bool = True) -> Iterator[None]:
    """Says so for the calls inside."""
    token = _is_batch_major.set(is_so)
    try:
        yield
    finally:
        _is_batch_major.reset(token)
