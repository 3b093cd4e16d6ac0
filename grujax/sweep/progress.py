"""The progress bar of a sweep, and its message after Ctrl-C."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any


def progress_bar(show: bool, total: int, done: int, unit: str) -> AbstractContextManager[Any]:
    """A tqdm bar over trials or rounds; yields None if it is not shown."""
    if not show:
        return nullcontext()
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            "`progress=True` needs tqdm: pip install 'grujax[sweep]', or pass `progress=False`."
        ) from error
    return tqdm(total=total, initial=done, desc="sweep", unit=unit)


def report_interruption(done: int, total: int, unit: str, directory: Path | None) -> None:
    """Says after Ctrl-C how much is done, and whether the same call resumes."""
    kept = (
        "not saved, because no `directory` was given"
        if directory is None
        else f"saved in {directory}; the same call resumes from there"
    )
    print(f"\nSweep stopped with {done} of {total} {unit}s done, {kept}.", file=sys.stderr)
