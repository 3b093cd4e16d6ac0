"""Compiles the native kernel once per machine, and loads it.

The library is cached (`grujax.implementations.library_cache`) under a name that depends on the
sources, the compiler and its flags, the headers of jaxlib, and the processor's features.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import jax

from grujax.implementations.library_cache import (
    KernelError,
    cache_directory,
    digest,
    lock_cache,
    read_sources,
)

TARGETS = ("grujax_forward", "grujax_backward")
COMPILERS = ("g++", "clang++")
COMPILE_SECONDS = 300  # a slower compiler is stopped

_SOURCE = Path(__file__).parent / "src"
_log = logging.getLogger("grujax")
_lock = threading.Lock()
_loaded: Path | None = None
_failure: str | None = None  # why no library was loaded


def is_loaded() -> bool:
    """Whether the kernel is ready. Loads it if it has been built; compiles nothing."""
    if os.environ.get("GRUJAX_NATIVE") == "0":
        return False
    with _lock:
        if _loaded or _failure:
            return _loaded is not None
        try:
            path = find_library()
            if path is None:
                reason = "It has not been built; `python -m grujax.kernels` builds it."
                _fall_back(logging.INFO, reason)
            else:
                _load(path)
        except (KernelError, OSError) as error:
            _fall_back(logging.WARNING, str(error))
        return _loaded is not None


def build_and_load() -> Path:
    """Loads the kernel, after building it if necessary. Returns the library's path.

    Raises:
        KernelError: if the kernel cannot be built or fails its self-test.
    """
    global _failure
    if os.environ.get("GRUJAX_NATIVE") == "0":
        raise KernelError("The environment variable GRUJAX_NATIVE is 0.")
    with _lock:
        if _loaded:
            return _loaded
        path = find_library() or build()
        _failure = None
        _load(path)
        return path


def find_library() -> Path | None:
    """The library for this machine, built by any compiler; None if there is none."""
    found = cache_directory().glob(f"{_library_name()}-*.so")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def build() -> Path:
    """Compiles the kernel with the first compiler that succeeds. Returns the library's path.

    If two processes call this at once, one waits for the other.
    """
    compilers = [shlex.split(name) for name in _compilers()]
    errors = []
    with lock_cache():
        for compiler in compilers:
            if shutil.which(compiler[0]) is None:
                continue
            compiler_version = digest(_output([*compiler, "--version"]))
            path = cache_directory() / f"{_library_name()}-{compiler_version}.so"
            if path.exists():
                return path
            with tempfile.TemporaryDirectory(dir=cache_directory()) as workspace:
                try:
                    compiled = _compile(compiler, Path(workspace))
                except KernelError as error:
                    errors.append(str(error))
                    continue
                compiled.replace(path)  # atomic: nobody loads half a library
                return path
    names = " or ".join(compiler[0] for compiler in compilers)
    raise KernelError("\n".join(errors) or f"There is no C++ compiler: {names} is not installed.")


def sources() -> list[Path]:
    """The files to compile, the slowest first."""
    return [_SOURCE / f"{name}.cpp" for name in ("backward", "gates", "xla_ffi", "forward")]


def _compile(compiler: list[str], workspace: Path) -> Path:
    """Compiles the sources in parallel and links them."""
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


def _load(path: Path) -> None:
    global _loaded
    library = ctypes.CDLL(str(path))
    library.grujax_passes_self_test.restype = ctypes.c_bool
    if not library.grujax_passes_self_test():
        raise KernelError(f"{path} fails its self-test.")
    for name in TARGETS:
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(library, name)), platform="cpu")
    _loaded = path


def _fall_back(level: int, reason: str) -> None:
    """Remembers why the kernel is not used, and logs it once per process."""
    global _failure
    _failure = reason
    _log.log(level, "grujax uses `lax.scan` instead of the native CPU kernel. %s", reason)


def _compilers() -> tuple[str, ...]:
    chosen = os.environ.get("CXX")
    return (chosen,) if chosen else COMPILERS


def _flags() -> list[str]:
    machine = "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"
    # The last two change no result: nobody reads `errno` or the floating-point flags.
    numbers = ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
    library = ["-std=c++17", "-fPIC", "-pthread", "-isystem", jax.ffi.include_dir()]
    return ["-O2", machine, *numbers, *library]


def _library_name() -> str:
    """Everything that a library depends on, except the compiler."""
    texts = [name + text for name, text in read_sources(_SOURCE, ".h", ".cpp").items()]
    return f"gru-{digest(*texts, *_flags()[:-1], version('jaxlib'), _processor())}"


def _processor() -> str:
    """The processor's architecture, model and features."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    kinds = ("flags", "Features", "model name", "CPU part")
    return platform.machine() + "".join(sorted({x for x in lines if x.startswith(kinds)}))


def _output(command: list[str]) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(f"`{command[0]}` does not run: {error}") from error
    if run.returncode != 0:
        raise KernelError(f"`{shlex.join(command)}` fails:\n{run.stderr[-2000:]}")
    return run.stdout
