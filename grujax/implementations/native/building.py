"""Compiles the kernels' source, once for a machine, and loads what was compiled.

The library lies in the user's cache directory ($XDG_CACHE_HOME or ~/.cache, folder
`grujax/kernels`), under a name made of all that it depends on: the source, the flags, the headers
of jaxlib, the processor's features and the compiler. A home directory shared by several kinds of
machines so holds a library for each.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import jax

TARGETS = ("grujax_forward", "grujax_backward")
COMPILERS = ("g++", "clang++")
COMPILE_SECONDS = 300  # a compiler that takes longer is stopped

_SOURCE = Path(__file__).parent / "src"
_log = logging.getLogger("grujax")
_lock = threading.Lock()
_loaded: Path | None = None
_why_not: str | None = None  # the reason for which a library was not loaded, or not built


class KernelError(RuntimeError):
    """Why the kernel cannot run; the message says it in a full sentence."""


def is_loaded() -> bool:
    """Whether the kernel is ready, having loaded it if it was built before. Compiles nothing."""
    if os.environ.get("GRUJAX_NATIVE") == "0":
        return False
    with _lock:
        if _loaded or _why_not:
            return _loaded is not None
        try:
            path = find_library()
            if path is None:
                _give_up(logging.INFO, "it is not built; `python -m grujax.kernels` builds it.")
            else:
                _load(path)
        except (KernelError, OSError) as error:
            _give_up(logging.WARNING, str(error))
        return _loaded is not None


def build_and_load() -> Path:
    """Builds the kernel unless it is built, and loads it. Returns: where it is.

    Raises:
        KernelError: if it cannot be built, or does not work.
    """
    global _why_not
    if os.environ.get("GRUJAX_NATIVE") == "0":
        raise KernelError("The environment variable GRUJAX_NATIVE is 0.")
    with _lock:
        if _loaded:
            return _loaded
        path = find_library() or build()
        _why_not = None
        _load(path)
        return path


def find_library() -> Path | None:
    """The library for this machine, of whatever compiler; None if it is not built."""
    found = directory().glob(f"{_name()}-*.so")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def build() -> Path:
    """Compiles the kernel with the first compiler that does it.

    Two processes may do it at once: one waits for the other.
    """
    compilers = [shlex.split(name) for name in _compilers()]
    reasons = []
    with _one_process_at_a_time():
        for compiler in compilers:
            if shutil.which(compiler[0]) is None:
                continue
            path = directory() / f"{_name()}-{digest(_output([*compiler, '--version']))}.so"
            if path.exists():
                return path
            with tempfile.TemporaryDirectory(dir=directory()) as workspace:
                try:
                    compiled = _compile(compiler, Path(workspace))
                except KernelError as error:
                    reasons.append(str(error))
                    continue
                compiled.replace(path)  # in one step: nobody sees half a library
                return path
    names = " or ".join(compiler[0] for compiler in compilers)
    raise KernelError("\n".join(reasons) or f"There is no C++ compiler: {names} is not installed.")


def _compile(compiler: list[str], workspace: Path) -> Path:
    """Compiles the sources side by side, and links them."""
    objects = [str(workspace / f"{source.stem}.o") for source in sources()]
    with ThreadPoolExecutor() as threads:
        commands = [
            [*compiler, *_flags(), "-c", str(source), "-o", compiled]
            for source, compiled in zip(sources(), objects, strict=True)
        ]
        list(threads.map(_output, commands))
    library = workspace / "library.so"
    _output([*compiler, "-shared", "-pthread", *objects, "-o", str(library)])
    return library


def sources() -> list[Path]:
    """What is compiled, the longest first."""
    return [_SOURCE / f"{name}.cpp" for name in ("backward", "evaluate", "gru", "forward")]


def directory() -> Path:
    """Where libraries are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "grujax" / "kernels"


def _load(path: Path) -> None:
    global _loaded
    library = ctypes.CDLL(str(path))
    library.grujax_passes_self_test.restype = ctypes.c_bool
    if not library.grujax_passes_self_test():
        raise KernelError(f"{path} does not pass its self-test.")
    for name in TARGETS:
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
    _loaded = path


def _give_up(level: int, reason: str) -> None:
    """Once in a process: whoever asks again gets the same answer without a line."""
    global _why_not
    _why_not = reason
    _log.log(level, "grujax runs its scan instead of the native CPU kernel: %s", reason)


def _compilers() -> tuple[str, ...]:
    own = os.environ.get("CXX")
    return (own,) if own else COMPILERS


def _flags() -> list[str]:
    machine = "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"
    # Neither of the last two changes a result: nobody reads `errno` or the floating-point flags.
    numbers = ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
    library = ["-std=c++17", "-fPIC", "-pthread", "-isystem", jax.ffi.include_dir()]
    return ["-O2", machine, *numbers, *library]


def _name() -> str:
    """All that a library depends on but for the compiler."""
    source = "".join(
        path.name + path.read_text(encoding="utf-8")
        for path in sorted(_SOURCE.iterdir())
        if path.suffix in (".h", ".cpp")
    )
    return f"gru-{digest(source, *_flags()[:-1], version('jaxlib'), _processor())}"


def _processor() -> str:
    """The processor's kind and what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    kinds = ("flags", "Features", "model name", "CPU part")
    return platform.machine() + "".join(sorted({x for x in lines if x.startswith(kinds)}))


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _output(command: list[str]) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(f"`{command[0]}` does not run: {error}") from error
    if run.returncode != 0:
        raise KernelError(f"`{shlex.join(command)}` fails:\n{run.stderr[-2000:]}")
    return run.stdout


@contextmanager
def _one_process_at_a_time() -> Iterator[None]:
    try:
        import fcntl  # not on Windows, where the scan runs

        directory().mkdir(parents=True, exist_ok=True)
        file = (directory() / "lock").open("w")
    except OSError as error:
        raise KernelError(f"{directory()} cannot be written: {error}") from error
    except ImportError as error:
        raise KernelError("The kernel is built on Linux and macOS alone.") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield
