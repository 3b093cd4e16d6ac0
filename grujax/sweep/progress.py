"""What a sweep says while it runs: its progress, warnings, and the message after Ctrl-C."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def progress_bar(
    show: bool, total: int, done: int, unit: str, label: str = "sweep", seconds: float = 10.0
) -> Iterator[Callable[..., None]]:
    """A tqdm bar on a terminal; where stderr is something else, such as a file, lines.

    Without tqdm, a line says so, and there is no bar.

    Args:
        show: False: nothing is shown.
        total, done: how much there is, and how much was finished before.
        unit: of what, such as "trial".
        label: of what it is the progress.
        seconds: between two lines, at least.

    Yields:
        `update(count, values)`: so much more is finished; `values` are shown beside it.
    """
    if show and not sys.stderr.isatty():
        yield _Lines(total, done, unit, label, seconds).update
        return
    tqdm = _import_tqdm() if show else None
    if tqdm is None:
        yield lambda count, values=None: None
        return
    with tqdm(total=total, initial=done, desc=label, unit=unit) as bar:

        def update(count: int, values: Mapping[str, float] | None = None) -> None:
            if values:
                bar.set_postfix({name: f"{x:.3f}" for name, x in values.items()})
            bar.update(count)

        yield update


class _Lines:
    """Progress as lines of text."""

    def __init__(self, total: int, done: int, unit: str, label: str, seconds: float):
        self._total, self._done, self._unit, self._label = total, done, unit, label
        self._seconds, self._start = seconds, time.monotonic()
        self._next = self._start + seconds

    def update(self, count: int, values: Mapping[str, float] | None = None) -> None:
        self._done += count
        now = time.monotonic()
        if now < self._next and self._done < self._total:
            return
        self._next = now + self._seconds
        shown = [f"{name} {x:.3f}" for name, x in (values or {}).items()]
        counts = f"{self._done}/{self._total} {self._unit}s in {now - self._start:.0f} s"
        print(f"{self._label}: {', '.join([counts, *shown])}", file=sys.stderr, flush=True)


def _import_tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        print("No progress bar: it needs tqdm (pip install 'grujax[sweep]').", file=sys.stderr)
        return None
    return tqdm


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
