"""Ctrl-C while a command is imported: quiet, with exit status 130. Imports little itself."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def be_quiet() -> None:
    """From now on Ctrl-C ends the process at once, unless the process handles or ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit)


@contextmanager
def quiet_interrupts() -> Iterator[None]:
    """Inside, Ctrl-C ends the process at once, with status 130; afterwards Python raises it again.

    Modules are imported here, and those in C++ abort with a traceback if Python raises an error in
    them.
    """
    be_quiet()
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _exit:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(130)
