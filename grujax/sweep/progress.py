"""What a sweep shows while it runs, and says when it is stopped."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any


def progress_bar(show: bool, total: int, done: int, unit: str) -> AbstractContextManager[Any]:
    """A tqdm bar over trials or rounds; None where none is to be shown."""
    if not show:
        return nullcontext()
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(
            "`progress=True` needs tqdm: pip install 'grujax[sweep]', or pass `progress=False`."
        ) from error
    return tqdm(total=total, initial=done, desc="sweep", unit=unit)


def say_what_is_kept(done: int, total: int, unit: str, directory: Path | None) -> None:
    """After Ctrl-C: how far the sweep came, and whether it can go on."""
    kept = (
        "they are lost, for want of a `directory`"
        if directory is None
        else f"they are kept in {directory}, and the same call goes on from there"
    )
    print(f"\nSweep stopped with {done} of {total} {unit}s done: {kept}.", file=sys.stderr)
