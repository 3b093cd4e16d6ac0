"""What a sweep says while it runs: its progress bar, warnings, and the message after Ctrl-C."""

from __future__ import annotations

import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any


def progress_bar(show: bool, total: int, done: int, unit: str) -> AbstractContextManager[Any]:
    """A tqdm bar over trials or rounds; yields None if it is not shown.

    Without tqdm a line says so, and there is no bar.
    """
    if not show:
        return nullcontext()
    try:
        from tqdm import tqdm
    except ImportError:
        print("No progress bar: it needs tqdm (pip install 'grujax[sweep]').", file=sys.stderr)
        return nullcontext()
    return tqdm(total=total, initial=done, desc="sweep", unit=unit)


def report_interruption(
    done: int, total: int, unit: str, directory: Path | None, saved: int
) -> None:
    """Says after Ctrl-C how much is done and saved, and whether the same call resumes."""
    kept = (
        "not saved, because no `directory` was given"
        if directory is None
        else f"{'' if saved == done else f'{saved} of them '}saved in {directory}; the same call "
        "resumes from there"
    )
    print(f"\nSweep stopped with {done} of {total} {unit}s done, {kept}.", file=sys.stderr)


def warn(message: str) -> None:
    """A warning that points to the caller of grujax."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("grujax."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level + 1)
