"""Runs the script of a command whose flags have been read: its devices, its loggers, its errors."""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import jax

from experiments.common.command import InputError
from experiments.common.data import DataError
from experiments.common.durable import DamagedFileError, DirectoryInUseError, describe
from experiments.common.flags import CommonFlags, ScaleFlags
from experiments.common.monitoring import make_loggers, use_monitoring
from experiments.common.outputs import raise_late
from experiments.common.provenance import print_expected, use_run
from experiments.common.training.checkpoints import CheckpointError
from experiments.common.training.loop import SettingsMismatchError
from experiments.common.training.processes import (
    LostProcessError,
    Processes,
    exit_immediately,
    is_writer,
    silence_non_writers,
)
from experiments.common.training.scale import Scale, use_scale

# Errors that the user can fix: printed without a traceback.
USER_ERRORS = (
    CheckpointError,
    DamagedFileError,
    DataError,
    DirectoryInUseError,
    LostProcessError,
    OSError,
    SettingsMismatchError,
)


def execute(main: Callable[[Any], None], command: Any, program: str) -> None:
    """Calls `main` with the command, whose output goes to the folder of `output_folder`.

    Errors that the user can fix are printed without a traceback, with exit status 1, or 2 if they
    are in the input. Ctrl-C exits with status 130.

    Args:
      main: the experiment.
      command: its flags. If they have `ScaleFlags`, `loop.run` obeys them; this requires a path
        `command.out`.
      program: the command, as the user types it.
    """
    try:
        with raise_late(), use_run(command, program), _monitored(command, program):
            if hasattr(command, "out"):
                command = replace(command, out=output_folder(command))
            if hasattr(command, "scale"):
                _run_scaled(main, command)
            else:
                _run(main, command)
    except InputError as error:
        _exit(f"error: {error}", 2)
    except USER_ERRORS as error:
        _exit(f"error: {describe(error)}", 1)
    except KeyboardInterrupt:
        _exit(None, 130)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        _exit(None, 1)


def output_folder(command: Any) -> Path:
    """The folder of a command's output: `out`, and in it one of `quick`, and one of a rival cell.

    So what `--predict` and the like use is what the same flags have trained.
    """
    out = command.out / "quick" if getattr(command, "quick", False) else command.out
    cell = getattr(getattr(command, "settings", None), "cell", "gru")
    return out if cell == "gru" else out / cell


@contextmanager
def _monitored(command: Any, program: str) -> Iterator[None]:
    """Inside, the command's flags hold. Raises InputError if a logger is not installed."""
    flags = getattr(command, "common", CommonFlags())
    with use_monitoring(flags, program.split(".")[-1]):
        try:
            make_loggers(Path())
        except ImportError as error:
            raise InputError(str(error)) from error
        yield


def _run_scaled(main: Callable[[Any], None], command: Any) -> None:
    scale = (Scale if isinstance(command.scale, ScaleFlags) else Processes)(**asdict(command.scale))
    scale.prepare()
    with silence_non_writers():
        if isinstance(scale, Scale):
            with use_scale(scale), _output_directory(command.out) as out:
                _run(main, replace(command, out=out))
        else:
            _run(main, command)


def _run(main: Callable[[Any], None], command: Any) -> None:
    main(command)
    print_expected()


@contextmanager
def _output_directory(out: Path) -> Iterator[Path]:
    """The directory for reports; processes that do not write get a temporary one."""
    if is_writer():
        yield out
        return
    with TemporaryDirectory() as temporary:
        yield Path(temporary)


def _exit(message: str | None, status: int) -> NoReturn:
    """Like `sys.exit`, but does not wait for the other processes to end."""
    if message is not None:
        print(message, file=sys.stderr)
    if jax.distributed.is_initialized():
        exit_immediately(status)
    sys.exit(status)
