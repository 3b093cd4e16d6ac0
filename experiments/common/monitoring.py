"""How trainings are watched: whether progress is shown, and which loggers record them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.common.flags import CommonFlags, MonitorFlags
from grujax.sweep import Logger
from grujax.sweep.loggers import choose_loggers

_used = [(CommonFlags(), "grujax")]  # flags and projects, the innermost last


@contextmanager
def use_monitoring(flags: CommonFlags, project: str) -> Iterator[None]:
    """Inside, trainings are watched like this; `project` names them in W&B and MLflow."""
    _used.append((flags, project))
    try:
        yield
    finally:
        _used.pop()


def shows_progress() -> bool:
    """Whether progress is shown."""
    return not _used[-1][0].quiet


def make_loggers(folder: Path) -> list[Logger]:
    """The loggers of the flags, which write to a folder.

    Raises:
      ImportError: the package of one is not installed.
    """
    flags, project = _used[-1]
    names = flags.log if isinstance(flags, MonitorFlags) else ()
    return choose_loggers(names, folder, project)
