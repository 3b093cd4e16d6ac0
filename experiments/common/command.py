"""The command line of an experiment: flags from a dataclass, errors as one line."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field, make_dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, TypeVar

import jax
import tyro

from experiments.common.data import DataError
from experiments.common.training.loop import SettingsMismatchError
from experiments.common.training.processes import (
    LostProcessError,
    Processes,
    ScaleError,
    is_writer,
    leave,
    silent_unless_writer,
)
from experiments.common.training.scale import Scale, using

Command = TypeVar("Command")


class InputError(ValueError):
    """What the user gave cannot be used; the message says why."""


MENDABLE = (
    DataError,
    FileNotFoundError,
    InputError,
    LostProcessError,
    ScaleError,
    SettingsMismatchError,
)


def run_command(
    main: Callable[[Command], None],
    command: type[Command],
    description: str | None,
    *,
    trains: bool = False,
    sweeps: bool = False,
) -> None:
    """Reads `command`, a dataclass, from the command line and calls `main` with it.

    Errors that the user can mend are printed without a traceback, with exit status 1. Ctrl-C ends
    with status 130.

    Args:
      main: the experiment.
      command: its flags.
      description: what `--help` says.
      trains: add the flags of `Scale`, which `loop.run` obeys. `command` has a path `out` then.
      sweeps: add the flags of `Processes`, for a sweep over several. The same holds.
    """
    scale = Scale if trains else Processes if sweeps else None
    try:
        if scale is None:
            main(tyro.cli(command, description=description))
        else:
            _run_scaled(main, *_read(command, scale, description))
    except MENDABLE as error:
        _end(f"error: {error}")
    except KeyboardInterrupt:
        _end(130)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        _end(1)


def _read(command: type, scale: type[Processes], description: str | None) -> tuple[Any, Any]:
    """Both from one command line."""
    flat = tyro.conf.OmitArgPrefixes
    fields = [
        ("command", flat[command], field(default_factory=command)),
        ("scale", flat[scale], field(default_factory=scale)),
    ]
    both = tyro.cli(make_dataclass("Both", fields), description=description)
    return both.command, both.scale


def _run_scaled(main: Callable[[Any], None], command: Any, scale: Any) -> None:
    scale.prepare()
    with silent_unless_writer():
        if isinstance(scale, Scale):
            with using(scale), _place_to_write(command.out) as out:
                main(replace(command, out=out))
        else:
            main(command)


@contextmanager
def _place_to_write(out: Path) -> Iterator[Path]:
    """Where reports go: of processes that do not write, nowhere."""
    if is_writer():
        yield out
        return
    with TemporaryDirectory() as nowhere:
        yield Path(nowhere)


def _end(status: int | str) -> NoReturn:
    """As `sys.exit`, but does not wait for the other processes to end."""
    if jax.distributed.is_initialized():
        if isinstance(status, str):
            print(status, file=sys.stderr)
        leave(1 if isinstance(status, str) else status)
    sys.exit(status)
