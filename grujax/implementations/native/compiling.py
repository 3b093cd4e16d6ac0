"""Compiles the native kernel, and describes the library in a file beside it.

The wheel's build loads this file by itself, before anything is installed: it needs nothing but the
standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = Path(__file__).parent / "src"
TARGETS = ("grujax_forward", "grujax_backward")
COMPILERS = ("g++", "clang++")
WORKSPACE = "building-"  # what the names of temporary folders begin with
COMPILE_SECONDS = 300  # a slower compiler is stopped
DESCRIPTION_BYTES = 1 << 20  # a longer description is none

# Features of processors as Linux names them, of each level for which the wheels have a library.
LEVELS = {
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    "x86-64-v3": ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"),
    "armv8-a": ("asimd",),
}
LEVELS["x86-64-v4"] += LEVELS["x86-64-v3"]
LEVELS_OF = {"x86_64": ("x86-64-v4", "x86-64-v3"), "aarch64": ("armv8-a",)}  # the fastest first


class CompileError(RuntimeError):
    """No compiler could compile the kernel. The message is a full sentence that says why."""


class Description(NamedTuple):
    """What must hold before a library may be opened: a file beside it, written after it.

    A library with other contents can end the process (SIGBUS), as can one for another processor
    (SIGILL), and no self-test could prevent that.
    """

    size: int  # bytes
    sha256: str
    sources: str  # a digest of the sources
    ffi: tuple[int, int]  # the version of XLA's interface, major and minor
    features: tuple[str, ...]  # of the processor
    compiler: str

    @classmethod
    def read(cls, library: Path) -> Description:
        """Reads the description of a library; raises ValueError or OSError if there is none."""
        path = description_path(library)
        fields: Any = json.loads(read_file(path, DESCRIPTION_BYTES))
        if not isinstance(fields, dict) or set(fields) != set(cls._fields):
            raise ValueError(f"{path} is not the description of a library")
        major, minor = map(int, fields["ffi"])
        features = tuple(map(str, fields["features"]))
        return cls(**fields | {"ffi": (major, minor), "features": features})

    def write(self, library: Path) -> None:
        """Writes the description beside the library."""
        text = json.dumps(self._asdict(), indent=1) + "\n"
        description_path(library).write_text(text, encoding="utf-8")


def compile_library(
    compilers: tuple[str, ...],
    machine: tuple[str, ...],
    features: tuple[str, ...],
    include: str,
    path: Path,
) -> Description:
    """Compiles the kernel into `path` with the first compiler that succeeds.

    Args:
        compilers: commands, each maybe with options.
        machine: the options that choose the processor.
        features: what these options require of it.
        include: the folder of XLA's headers.
        path: where the library goes, in an existing folder.

    Raises:
        CompileError: if no compiler succeeds, or the folder is full or not writable.
    """
    errors = []
    for command in compilers:
        try:
            compiler = _split(command)
            with tempfile.TemporaryDirectory(prefix=WORKSPACE, dir=path.parent) as workspace:
                compiled = Path(workspace) / path.name
                version = _compile(compiler, machine, include, compiled)
                compiled.chmod(0o755)  # not for others to write, whatever the umask is
                content = compiled.read_bytes()
                description = Description(
                    size=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                    sources=digest_sources(),
                    ffi=ffi_version(include),
                    features=features,
                    compiler=version,
                )
                description.write(compiled)
                description_path(compiled).chmod(0o644)
                compiled.replace(path)  # nobody opens half a library
                description_path(compiled).replace(description_path(path))
            return description
        except CompileError as error:
            errors.append(str(error))
        except OSError as error:
            raise CompileError(f"{path.parent} cannot hold the library: {error}.") from error
    raise CompileError("\n".join(errors))


def read_file(path: Path, most: int) -> bytes:
    """The content of a regular file of at most so many bytes; else raises ValueError or OSError.

    What is no regular file could block for ever.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is no regular file")
    if status.st_size > most:
        raise ValueError(f"{path} has {status.st_size} bytes, more than {most}")
    return path.read_bytes()


def ffi_version(include: str) -> tuple[int, int]:
    """The version of XLA's foreign function interface in these headers, major and minor.

    A library runs with its own version and with later minor ones.

    Raises:
        CompileError: if the headers are not there.
    """
    header = Path(include) / "xla" / "ffi" / "api" / "c_api.h"
    try:
        text = header.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CompileError(
            f"XLA's headers, which come with jaxlib, cannot be read: {error}."
        ) from error
    found = [re.search(rf"#define XLA_FFI_API_{part} (\d+)", text) for part in ("MAJOR", "MINOR")]
    major, minor = (int(match[1]) if match else -1 for match in found)
    return major, minor


def digest_sources() -> str:
    """16 hexadecimal digits that depend on the name and the content of every source."""
    digest = hashlib.sha256()
    for source in sorted(SOURCE.iterdir()):
        if source.suffix in (".h", ".cpp", ".map"):
            digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def sources() -> list[Path]:
    """The files to compile, the slowest first."""
    names = ("backward", "gates", "xla_ffi", "forward", "glibc")
    return [SOURCE / f"{name}.cpp" for name in names]


def flags() -> tuple[str, ...]:
    """The options of every compilation. The last two change no result: nobody reads `errno` or the
    floating-point flags."""
    numbers = ("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
    return ("-std=c++17", "-O2", "-fPIC", "-pthread", *numbers)


def _compile(compiler: list[str], machine: tuple[str, ...], include: str, library: Path) -> str:
    """Compiles the sources in parallel and links them; returns the compiler's version."""
    version = _run([*compiler, "--version"]).partition("\n")[0]
    objects = [str(library.parent / f"{source.stem}.o") for source in sources()]
    commands = [
        [*compiler, *flags(), *machine, "-isystem", include, "-c", str(source), "-o", compiled]
        for source, compiled in zip(sources(), objects, strict=True)
    ]
    _run(*commands)
    shared = ["-shared", "-pthread", *_link_flags()]
    _run([*compiler, *shared, *objects, "-o", str(library)])
    if not library.is_file():
        raise CompileError(f"`{compiler[0]}` makes no library, and reports no error.")
    return version


def _link_flags() -> list[str]:
    """Nothing but what XLA and the self-test call is visible."""
    return (
        ["-Wl,-x"]
        if sys.platform == "darwin"
        else [f"-Wl,--version-script={SOURCE / 'exports.map'}", "-s"]
    )


def _split(command: str) -> list[str]:
    """The words of a command such as that in `CXX`."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise CompileError(f"`{command}` is not a command: {error}.") from error
    if not words:
        raise CompileError("The name of the compiler is blank.")
    if shutil.which(words[0]) is None:
        raise CompileError(f"There is no C++ compiler: {words[0]} is not installed.")
    return words


def _run(*commands: list[str]) -> str:
    """Runs the commands at once; returns what they print. None of them outlives this call."""
    running: list[subprocess.Popen[bytes]] = []
    printed = ""
    deadline = time.monotonic() + COMPILE_SECONDS
    try:
        for command in commands:
            running.append(_start(command))  # noqa: PERF401 — those that run are known if one fails
        for command, process in zip(commands, running, strict=True):
            output, _ = process.communicate(timeout=max(0, deadline - time.monotonic()))
            text = output.decode(errors="replace")
            if process.returncode != 0:
                raise CompileError(f"`{shlex.join(command)}` fails:\n{text[-2000:]}")
            printed += text
    except subprocess.TimeoutExpired as error:
        raise CompileError(f"`{error.cmd[0]}` takes longer than {COMPILE_SECONDS} s.") from error
    finally:
        for process in running:
            _stop(process)
    return printed


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    """Starts a command as the leader of a group of processes."""
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CompileError(f"`{command[0]}` does not run: {error}") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a command, if it still runs, with what it has started; its output may stay unread."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def description_path(library: Path) -> Path:
    """Where the description of a library is."""
    return library.with_suffix(".json")
