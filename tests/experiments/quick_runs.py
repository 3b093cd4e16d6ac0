"""Runs commands as a user types them: each once in a session of tests, in one folder for all.

The processes of pytest-xdist share the folder. So what one test trains, all others use.
"""

import fcntl
import hashlib
import importlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

from experiments.common.parsing import parse
from tests.helpers import ROOT

LIMIT = 1800  # seconds of a command
STDIN = "Pam is a small program that reads and converts images. It has no window.\n"
FORMER_NAMES = {"summarisation": "summarization"}
USE_THE_MODEL_OF = {"export": "sentiment", "interpret": "sentiment"}

# `--quick` is added to each command that takes it, and to those that do not, these flags.
OTHERWISE = {
    "benchmark": "--seconds 0.1",
    "exercises": "--epochs 2",
    "video": "--epochs 2",
    "sentiment": "--epochs 1 --hidden-size 8 --embedding-size 8",
}
# What is written instead of flags that ask for a long training.
SHORTER = {
    "--folds 5 --seeds 3": "--folds 2 --seeds 2",
    "--lengths 4 8 16 32 64 128": "--lengths 4 8",
    "--updates 120": "--updates 4",
    "--updates 200": "--updates 4",
}
# With these flags, a command is apart from others: it would find that they had trained already.
APART = ("--devices", "--process ")

COMMAND = re.compile(r"(.*?)(?:\.venv/bin/)?python -m experiments\.(\w+)(.*)")


class Ran(NamedTuple):
    """A command that has run."""

    line: str  # as it ran
    folder: Path  # where it ran
    status: int
    stdout: str
    stderr: str


def quick_form(line: str) -> str:
    """A command line that trains in minutes, or uses what such a line has trained.

    With `--quick`, the output is in `runs/NAME/quick`; so are the examples that other lines name.
    """
    found = COMMAND.fullmatch(line)
    if not found:
        return line
    before, name, flags = found.groups()
    for flag, shorter in SHORTER.items():
        flags = flags.replace(flag, shorter)
    if "--model " not in flags and "--quick" not in flags:
        if is_parsed(name, f"{flags} --quick"):
            flags = flags.replace(f" runs/{name}/", f" runs/{name}/quick/") + " --quick"
        elif name in OTHERWISE and is_parsed(name, f"{flags} {OTHERWISE[name]}"):
            flags += f" {OTHERWISE[name]}"
    if "--out" not in flags and any(flag in flags for flag in APART):
        flags += " --out runs/apart"
    return f"{before}python -m experiments.{name}{flags}"


def parse_line(name: str, flags: str) -> Any:
    """The `Command` of `python -m experiments.NAME FLAGS`. Raises what `parse` raises."""
    module = importlib.import_module(f"experiments.{FORMER_NAMES.get(name, name)}.settings")
    return parse(module.Command, name, None, shlex.split(flags))


def is_parsed(name: str, flags: str) -> bool:
    try:
        with redirect_stderr(io.StringIO()):
            parse_line(name, flags)
    except (SystemExit, ValueError):
        return False
    return True


def run_once(line: str, folder: Path) -> Ran:
    """Runs a command line in a folder, unless it has run there; one of an experiment at a time."""
    found = COMMAND.search(line)
    name = found[2] if found else "others"
    records = folder / ".ran"
    records.mkdir(parents=True, exist_ok=True)
    record = records / f"{hashlib.sha256(line.encode()).hexdigest()}.json"
    with locked(records / USE_THE_MODEL_OF.get(name, name)):
        if not record.exists():
            record.write_text(json.dumps(run_in_shell(line, folder)))
    ran = Ran(line, folder, *json.loads(record.read_text()))
    assert ran.status == 0, f"{line}\nexit status {ran.status}\n{ran.stderr[-3000:]}"
    assert ran.stdout, f"{line}\nprints nothing"
    return ran


def run_in_shell(line: str, folder: Path) -> tuple[int, str, str]:
    """The exit status, stdout and stderr of a command line, as a user types it in a folder."""
    python = Path(sys.executable).parent
    env = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{python}:{os.environ['PATH']}"}
    env.pop("XLA_FLAGS", None)  # users have those of `tests/conftest.py` not
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(
        line, shell=True, cwd=folder, env=env, text=True, start_new_session=True, **pipes
    ) as process:
        try:
            stdout, stderr = process.communicate(STDIN, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            stderr += f"It was killed after {LIMIT} seconds."
    return process.returncode, stdout, stderr


def tries(ran: Ran) -> list[str]:
    """The commands that a command says to try."""
    return re.findall(r"Try: (.+)", ran.stdout)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Inside, no other process is."""
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
