"""Runs the command line of an experiment, whose `__main__.py` calls `run`.

The flags are read and checked before anything that takes long to import: see
`experiments.common.parsing`. This file imports nothing but Python's own modules.
"""

import ast
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from experiments.common.interrupts import quiet_interrupts


class InputError(ValueError):
    """The user's input cannot be used; the message says why."""


def run(settings: str, script: str) -> None:
    """Reads the flags, then calls `main(command)`.

    Input that cannot be used is refused in one sentence, with exit status 2; other errors that the
    user can fix, such as a full disk, have exit status 1. Ctrl-C exits with status 130.

    Args:
      settings: the module with the dataclass `Command`, the flags.
      script: the module with `main`; its docstring is the text of `--help`.
    """
    try:
        with quiet_interrupts():
            from experiments.common.parsing import parse

            program = program_name(script)
            command = parse(import_module(settings).Command, program, docstring(script))

            from experiments.common.execution import execute

            main = import_module(script).main
        execute(main, command, program)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def program_name(script: str) -> str:
    """The command as the user types it, "python -m experiments.NAME"; elsewhere, the file."""
    if not script.startswith("experiments."):
        return Path(sys.argv[0]).name
    return "python -m " + ".".join(script.split(".")[:2])


def docstring(script: str) -> str | None:
    """The docstring of a module, without importing it."""
    if script in sys.modules:
        return sys.modules[script].__doc__
    spec = find_spec(script)
    assert spec is not None
    assert spec.origin is not None
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
