"""How a result was made: the command, its flags, the code, the versions, and the machine."""

import platform
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

import grujax
from experiments.common.expectations import compare, expectations, format_comparison
from experiments.common.flags import Always
from experiments.common.parsing import format_config, list_flags, recorded_flags, to_words
from experiments.common.training.devices import available_cores

FLAG = re.compile("--[a-z][a-z-]*")
PACKAGES = ("flax", "jax", "jaxlib", "numpy", "optax")


@dataclass(frozen=True)
class Run:
    """A command that runs."""

    program: str  # "python -m experiments.NAME"
    command: Any  # its flags
    start: float  # of `time.perf_counter`
    processor_start: float  # of `time.process_time`
    compared: list[dict[str, Any]] = field(default_factory=list)  # see `compare_with_expected`


_runs: list[Run] = []  # the innermost last


@contextmanager
def use_run(command: Any, program: str) -> Iterator[None]:
    """Inside, results are those of this command."""
    _runs.append(Run(program, command, time.perf_counter(), time.process_time()))
    try:
        yield
    finally:
        _runs.pop()


def describe_run() -> dict[str, Any]:
    """How a result was made, as JSON values; without command and flags outside of a command.

    "seconds" is the time since the command started, "processor seconds" what its threads computed
    in it. A command that was interrupted and resumed counts from its last start.
    """
    about = {
        "versions": {"grujax": grujax.__version__, "python": platform.python_version()}
        | {name: text for name in PACKAGES if (text := _version(name)) is not None},
        "commit": commit(),
        "machine": {"processor": processor(), "cores": available_cores(), "jax": _devices()},
    }
    if not _runs:
        return about
    run = _runs[-1]
    settings = {flag.name: flag.value for flag in recorded_flags(run.command)}
    paths = {name: str(value) for name, value in settings.items() if isinstance(value, Path)}
    return {
        "command": run.program,
        "settings": settings | paths,
        **about,
        "seconds": round(time.perf_counter() - run.start, 1),
        "processor seconds": round(time.process_time() - run.processor_start, 1),
    }


def compare_with_expected(results: Any, folder: str) -> dict[str, Any]:
    """The results of the current run beside what was expected, see `expectations.compare`."""
    if not _runs:
        return {}
    run = _runs[-1]
    compared = compare(expectations(run.command), results, folder)
    run.compared.append(compared)
    return compared


def print_expected() -> None:
    """Prints the same at the end of the current run, if anything was expected."""
    if any(_runs[-1].compared):
        print(f"\n{format_comparison(_runs[-1].compared)}")


def current_command() -> Any:
    """The flags of the command that runs; None outside of one."""
    return _runs[-1].command if _runs else None


def current_config() -> str | None:
    """The flags of the command as TOML, for `--config`; None outside of a command."""
    return format_config(_runs[-1].command, _runs[-1].program) if _runs else None


def command_line(program: str, *words: str) -> str:
    """A command as the user types it, quoted for the shell.

    Args:
      program: "python -m experiments.NAME". If it is the one that runs, the flags that say which
        model is meant, such as `--out` and `--quick`, are added.
      words: flags and values. A value that begins with "-" is joined to its flag by "=".
    """
    selection: list[str] = []
    if _runs and _runs[-1].program == program:
        command = _runs[-1].command
        selection = [
            word
            for flag, default in zip(list_flags(command), list_flags(type(command)()), strict=True)
            if flag.mark(Always) and flag.is_recorded and flag.value != default.value
            for word in to_words(flag, flag.value)
        ]
    typed = [*program.split(), *selection]
    for word in words:
        if word.startswith("-") and not FLAG.fullmatch(word):
            typed[-1] += f"={word}"
        else:
            typed.append(word)
    return shlex.join(typed)


def processor() -> str:
    """The name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the code, with "+" if files were changed; None outside of a clone."""
    root = Path(__file__).parents[2]
    try:
        git = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*"]
        found = subprocess.run(
            [*git, "--dirty=+"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() if (root / ".git").exists() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> str:
    return f"{jax.device_count()} {jax.devices()[0].device_kind}"
