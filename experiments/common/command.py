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
from experiments.common.monitoring import Monitoring, make_loggers, use_monitoring
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
    monitors: bool = False,
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
      monitors: adds the flags of `Monitoring`, as `trains` and `sweeps` do.
    """
    kinds: dict[str, type] = {"command": command}
    if trains or sweeps:
        kinds["scale"] = Scale if trains else Processes
    if trains or sweeps or monitors:
        kinds["monitoring"] = Monitoring
    program = program_name(main)
    project = program.split(".")[-1] if program else "grujax"
    try:
        with raise_late():
            flags = _parse(kinds, {"prog": program, "description": description})
            with _monitored(getattr(flags, "monitoring", Monitoring()), project):
                if hasattr(flags, "scale"):
                    _run_scaled(main, flags.command, flags.scale)
                else:
                    main(flags.command)
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


def _parse(kinds: dict[str, type], options: dict[str, Any]) -> Any:
    """Reads several dataclasses from one command line. Returns: an object that has all of them."""
    flat = tyro.conf.OmitArgPrefixes
    fields = [(name, flat[kind], field(default_factory=kind)) for name, kind in kinds.items()]
    return tyro.cli(make_dataclass("Flags", fields), **options)


@contextmanager
def _monitored(flags: Monitoring, project: str) -> Iterator[None]:
    """Inside, `flags` hold. Raises InputError if a logger is not installed."""
    with use_monitoring(flags, project):
        try:
            make_loggers(Path())
        except ImportError as error:
            raise InputError(str(error)) from error
        yield


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
