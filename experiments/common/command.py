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
from experiments.common.durable import DamagedFileError, DirectoryInUseError, describe
from experiments.common.outputs import raise_late
from experiments.common.training.checkpoints import CheckpointError
from experiments.common.training.loop import SettingsMismatchError
from experiments.common.training.processes import (
    LostProcessError,
    Processes,
    ScaleError,
    exit_immediately,
    is_writer,
    silence_non_writers,
)
from experiments.common.training.scale import Scale, use_scale

Command = TypeVar("Command")


class InputError(ValueError):
    """The user's input cannot be used; the message says why."""


# Errors that the user can fix: printed without a traceback.
USER_ERRORS = (
    CheckpointError,
    DamagedFileError,
    DataError,
    DirectoryInUseError,
    InputError,
    LostProcessError,
    OSError,
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

    Errors that the user can fix are printed without a traceback, with exit status 1. Ctrl-C exits
    with status 130.

    Args:
      main: the experiment.
      command: its flags.
      description: the text of `--help`.
      trains: adds the flags of `Scale`, which `loop.run` obeys. Requires a path `command.out`.
      sweeps: adds the flags of `Processes`, for a sweep over several processes.
    """
    scale = Scale if trains else Processes if sweeps else None
    options = {"prog": program_name(main), "description": description}
    try:
        with raise_late():
            if scale is None:
                main(tyro.cli(command, **options))
            else:
                _run_scaled(main, *_parse_both(command, scale, options))
    except USER_ERRORS as error:
        _exit(f"error: {describe(error)}")
    except KeyboardInterrupt:
        _exit(130)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        _exit(1)


def program_name(main: Callable[..., Any]) -> str | None:
    """The command as the user types it, "python -m experiments.NAME"; None outside a package."""
    if not main.__module__.startswith("experiments."):
        return None
    return "python -m " + ".".join(main.__module__.split(".")[:2])


def _parse_both(
    command: type, scale: type[Processes], options: dict[str, Any]
) -> tuple[Any, Processes]:
    """Reads both dataclasses from one command line."""
    flat = tyro.conf.OmitArgPrefixes
    fields = [
        ("command", flat[command], field(default_factory=command)),
        ("scale", flat[scale], field(default_factory=scale)),
    ]
    both = tyro.cli(make_dataclass("Both", fields), **options)
    return both.command, both.scale


def _run_scaled(main: Callable[[Any], None], command: Any, scale: Processes) -> None:
    scale.prepare()
    with silence_non_writers():
        if isinstance(scale, Scale):
            with use_scale(scale), _output_directory(command.out) as out:
                main(replace(command, out=out))
        else:
            main(command)


@contextmanager
def _output_directory(out: Path) -> Iterator[Path]:
    """The directory for reports; processes that do not write get a temporary one."""
    if is_writer():
        yield out
        return
    with TemporaryDirectory() as temporary:
        yield Path(temporary)


def _exit(status: int | str) -> NoReturn:
    """Like `sys.exit`, but does not wait for the other processes to end."""
    if jax.distributed.is_initialized():
        if isinstance(status, str):
            print(status, file=sys.stderr)
        exit_immediately(1 if isinstance(status, str) else status)
    sys.exit(status)
