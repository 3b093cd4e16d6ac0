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
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = Path(__file__).parent / "src"
TARGETS = ("grujax_forward", "grujax_backward")
COMPILERS = ("g++", "clang++")
COMPILE_SECONDS = 300  # a slower compiler is stopped

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
        fields: Any = json.loads(_description_path(library).read_text(encoding="utf-8"))
        if not isinstance(fields, dict) or set(fields) != set(cls._fields):
            raise ValueError(f"{_description_path(library)} is not the description of a library.")
        ffi, features = tuple(map(int, fields["ffi"])), tuple(map(str, fields["features"]))
        return cls(**fields | {"ffi": ffi, "features": features})

    def write(self, library: Path) -> None:
        """Writes the description beside the library, under its own name at the very end."""
        path = _description_path(library)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(self._asdict(), indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)


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
            version = _output([*compiler, "--version"]).partition("\n")[0]
            with tempfile.TemporaryDirectory(dir=path.parent) as workspace:
                compiled = _compile(compiler, machine, include, Path(workspace))
                content = compiled.read_bytes()
                compiled.replace(path)  # atomic: nobody opens half a library
            sha256 = hashlib.sha256(content).hexdigest()
            ffi = ffi_version(include)
            description = Description(
                len(content), sha256, digest_sources(), ffi, features, version
            )
            description.write(path)
            return description
        except CompileError as error:
            errors.append(str(error))
        except OSError as error:
            raise CompileError(f"{path.parent} cannot hold the library: {error}.") from error
    raise CompileError("\n".join(errors))


def ffi_version(include: str) -> tuple[int, int]:
    """The version of XLA's foreign function interface in these headers, major and minor.

    A library runs with its own version and with later minor ones.
    """
    text = (Path(include) / "xla" / "ffi" / "api" / "c_api.h").read_text(encoding="utf-8")
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


def _compile(compiler: list[str], machine: tuple[str, ...], include: str, workspace: Path) -> Path:
    """Compiles the sources in parallel and links them."""
    objects = [str(workspace / f"{source.stem}.o") for source in sources()]
    with ThreadPoolExecutor() as threads:
        commands = [
            [*compiler, *flags(), *machine, "-isystem", include, "-c", str(source), "-o", compiled]
            for source, compiled in zip(sources(), objects, strict=True)
        ]
        list(threads.map(_output, commands))
    library = workspace / "library.so"
    _output([*compiler, "-shared", "-pthread", *_link_flags(), *objects, "-o", str(library)])
    if not library.is_file():
        raise CompileError(f"`{compiler[0]}` makes no library, and reports no error.")
    return library


def _link_flags() -> list[str]:
    """Nothing but what XLA and the self-test call is visible."""
    is_macos = os.uname().sysname == "Darwin"
    return ["-Wl,-x"] if is_macos else [f"-Wl,--version-script={SOURCE / 'exports.map'}", "-s"]


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


def _output(command: list[str]) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except (OSError, UnicodeError, subprocess.TimeoutExpired) as error:
        raise CompileError(f"`{command[0]}` does not run: {error}") from error
    if run.returncode != 0:
        raise CompileError(f"`{shlex.join(command)}` fails:\n{run.stderr[-2000:]}")
    return run.stdout


def _description_path(library: Path) -> Path:
    return library.with_suffix(".json")
