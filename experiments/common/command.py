"""The command line of an experiment: flags from a dataclass, errors as one line."""

import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from experiments.common.data import DataError
from experiments.common.loop import SettingsMismatchError

Command = TypeVar("Command")


class InputError(ValueError):
    """What the user gave cannot be used; the message says why."""


def run_command(
    main: Callable[[Command], None], command: type[Command], description: str | None
) -> None:
    """Reads `command`, a dataclass, from the command line and calls `main` with it.

    Errors that the user can mend are printed without a traceback, with exit status 1. Ctrl-C ends
    with status 130.
    """
    try:
        main(tyro.cli(command, description=description))
    except (DataError, FileNotFoundError, InputError, SettingsMismatchError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
