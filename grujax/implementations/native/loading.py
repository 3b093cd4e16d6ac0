"""Finds and opens a library of the native kernel, once per process.

In this order: a library that was built for exactly this machine, then one of the wheel's. If there
is neither, the scan runs. A library is opened only if its description says that this processor and
this version of XLA can run it, and if its content is what the description says.

Worker processes that `spawn` or `forkserver` starts run the kernel. So do those of `fork`, if JAX
has not run before in their parent. Afterwards XLA's threads are missing in the child, and JAX
itself hangs there, in a jitted `a + 1` as well as in `gru`.
"""

from __future__ import annotations

import _ctypes
import ctypes
import hashlib
import logging
import os
import sys
import threading
from pathlib import Path

import jax

from grujax.implementations.library_cache import KernelError, check_private
from grujax.implementations.native import building, processor
from grujax.implementations.native.compiling import (
    TARGETS,
    CompileError,
    Description,
    description_path,
    digest_sources,
    ffi_version,
    read_file,
)

PREBUILT = Path(__file__).parent / "prebuilt"
BUILD = "`python -m grujax build` builds one for this machine"

_log = logging.getLogger("grujax")
_lock = threading.Lock()
_loaded: Path | None = None
_failure: str | None = None  # why no library was loaded


def is_loaded() -> bool:
    """Whether the kernel is ready, after loading it if there is a library. Never raises."""
    with _lock:
        if _loaded is None and _failure is None:
            try:
                _load_first()
            except Exception as error:  # the scan is always right: no state may stop a program
                _fall_back(logging.WARNING, f"{type(error).__name__}: {error}.")
        return _loaded is not None


def load_or_build() -> Path:
    """Loads the kernel, after building it if necessary. Returns the library's path.

    Raises:
        KernelError: if there is no library that can run here, and none can be built.
    """
    global _failure
    if not _is_enabled():
        raise KernelError("The environment variable GRUJAX_NATIVE turns the kernel off.")
    with _lock:
        if _loaded is None and _finds_none():
            path = building.build(is_needed=_finds_none)  # unless another process has built it
            if _loaded is None:
                open_library(path)
        _failure = None
        assert _loaded is not None
        return _loaded


def _unlock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # another thread may hold the lock while a process forks
    os.register_at_fork(after_in_child=_unlock)


def loaded_library() -> Path | None:
    """The path of the library that this process has opened."""
    return _loaded


def failure() -> str | None:
    """Why this process has opened none, after it tried."""
    return _failure


def refusals() -> dict[Path, str]:
    """Every library that could be for this machine, and why it cannot be opened; "" if it can."""
    return {path: _refusal(path) for path in _candidates()}


def _load_first() -> None:
    note = "" if _is_understood() else " GRUJAX_NATIVE is none of 0, 1, false and true: ignored."
    if not _is_enabled():
        _fall_back(logging.INFO, "GRUJAX_NATIVE turns it off.")
    elif reason := _why_scan():
        _fall_back(logging.WARNING if note else logging.INFO, reason + note)
    else:
        reasons = " ".join(_load_any())
        if _loaded is None:
            _fall_back(logging.WARNING, f"{reasons} {BUILD}, if there is a compiler.{note}")
        elif reasons:
            _log.warning("grujax uses the kernel in %s. %s %s.%s", _loaded, reasons, BUILD, note)
        elif note:
            _log.warning("grujax uses the native CPU kernel.%s", note)


def _why_scan() -> str:
    """Why the scan is the best for this machine; "" if the kernel is."""
    if sys.platform == "win32":
        return "There is none for Windows."
    if not processor.is_fast_enough():
        if processor.features():
            return "This processor has no AVX2 or no FMA, and the scan is faster."
        return "Nothing says what this processor can do: /proc/cpuinfo cannot be read."
    return ""


def _is_enabled() -> bool:
    """Whether `GRUJAX_NATIVE` lets the kernel run."""
    return _environment() not in ("0", "false")


def _is_understood() -> bool:
    return _environment() in ("0", "1", "false", "true", "")


def _environment() -> str:
    return os.environ.get("GRUJAX_NATIVE", "").strip().lower()


def _candidates() -> list[Path]:
    """The libraries that may be for this machine, in the order in which they are tried."""
    prebuilt = [PREBUILT / f"gru-{level}.so" for level in processor.levels()]
    try:
        local = building.local_libraries()
    except (KernelError, OSError):  # no home, for example
        local = []
    return [*local, *(path for path in prebuilt if os.path.exists(path))]


def _finds_none() -> bool:
    """Whether no library can be opened, after trying."""
    _load_any()
    return _loaded is None


def _load_any() -> list[str]:
    """Opens the first library that can be opened; returns why those before it cannot."""
    reasons: list[str] = []
    for path in _candidates():
        if reason := _refusal(path):
            reasons.append(f"{path}: {reason}")
            continue
        try:
            open_library(path)
        except KernelError as error:
            reasons.append(str(error))
        else:
            return reasons
    return reasons or ["No library for this machine is installed."]


def _refusal(path: Path) -> str:
    """Why a library cannot be opened here; "" if it can."""
    try:
        if path.parent != PREBUILT:
            check_private(path)
            check_private(description_path(path))
        description = Description.read(path)
        content = read_file(path, sys.maxsize)
        if len(content) != description.size:
            return "It is damaged: its size is not what it was."
        if hashlib.sha256(content).hexdigest() != description.sha256:
            return "It is damaged: its content is not what it was."
        if description.sources != digest_sources():
            return "It was built from other sources."
        missing = set(description.features) - processor.features()
        if missing:
            return f"It is for another processor: this one lacks {', '.join(sorted(missing)[:5])}."
        major, minor = ffi_version(jax.ffi.include_dir())
        if description.ffi[0] != major or description.ffi[1] > minor:
            return f"It is for version {description.ffi} of XLA's interface, not {(major, minor)}."
    except (KernelError, CompileError) as error:
        return str(error)
    except Exception as error:  # whatever the files may contain
        return f"It cannot be read: {error}."
    return ""


def open_library(path: Path) -> None:
    """Opens a library, checks that it computes what it should, and registers it with XLA.

    Raises:
        KernelError: if it cannot be opened, or fails its self-test.
    """
    global _loaded
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:  # `noexec`, for example
        reason = str(error).removeprefix(f"{path}: ")
        raise KernelError(f"{path} cannot be opened: {reason}.") from error
    try:
        library.grujax_passes_self_test.restype = ctypes.c_bool
        handlers = {name: getattr(library, name) for name in TARGETS}
        if not library.grujax_passes_self_test():
            raise KernelError(f"{path} fails its self-test.")
        for name, handler in handlers.items():
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(handler), platform="cpu")
    except AttributeError as error:
        _close(library)
        raise KernelError(f"{path} cannot be opened: {error}.") from error
    except KernelError:
        _close(library)
        raise
    except Exception as error:  # XLA has another library's functions under these names
        raise KernelError(f"XLA does not take {path}: {error}.") from error
    _loaded = path


def _close(library: ctypes.CDLL) -> None:
    """Closes a library that is of no use; one built in its place could not be opened otherwise."""
    if hasattr(_ctypes, "dlclose"):
        _ctypes.dlclose(library._handle)


def _fall_back(level: int, reason: str) -> None:
    """Remembers why the kernel is not used, and logs it once per process."""
    global _failure
    _failure = reason
    _log.log(level, "grujax uses `lax.scan` instead of the native CPU kernel. %s", reason)
