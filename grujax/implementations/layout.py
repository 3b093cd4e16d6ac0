"""The memory order in which a caller holds arrays over time.

The core is time-major, `[T, B, ...]`. A batch-major caller transposes what it passes and receives.
A kernel that takes strides can undo this, so that XLA removes both transposes. This is a
performance hint that changes no result, hence a context variable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_is_batch_major = ContextVar("grujax_batch_major", default=False)


def is_batch_major() -> bool:
    """Whether the caller holds `[B, T, ...]` and transposes around this call."""
    return _is_batch_major.get()


@contextlib.contextmanager
def batch_major(is_so: bool = True) -> Iterator[None]:
    """Sets the hint for calls inside the context."""
    token = _is_batch_major.set(is_so)
    try:
        yield
    finally:
        _is_batch_major.reset(token)
