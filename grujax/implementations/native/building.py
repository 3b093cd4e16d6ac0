"""Builds the native kernel for exactly this machine, into the cache.

A library's name depends on the sources, the flags and the processor, so a home directory that
different machines share holds one library for each of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import jax

from grujax.implementations.library_cache import (
    KernelError,
    cache_directory,
    digest,
    lock_cache,
)
from grujax.implementations.native import processor
from grujax.implementations.native.compiling import (
    COMPILERS,
    WORKSPACE,
    CompileError,
    compile_library,
    digest_sources,
    ffi_version,
    flags,
)


def build(is_needed: Callable[[], object] = lambda: True) -> Path:
    """Compiles the kernel with the first compiler that succeeds. Returns the library's path.

    If two processes call this at once, one waits for the other, and then compiles only if
    `is_needed()` still says so.

    Raises:
        KernelError: if there is no compiler that works, or no folder for the library.
    """
    chosen = os.environ.get("CXX")
    compilers = COMPILERS if chosen is None else (chosen,)
    path = local_library()
    with lock_cache():
        for killed in path.parent.glob(f"{WORKSPACE}*"):  # while it compiled
            shutil.rmtree(killed, ignore_errors=True)
        if is_needed():
            try:
                features = tuple(sorted(processor.features()))
                compile_library(compilers, _machine_flags(), features, jax.ffi.include_dir(), path)
            except CompileError as error:
                raise KernelError(str(error)) from error
    return path


def local_library() -> Path:
    """Where the library for this machine is, or would be.

    Raises:
        KernelError: if there is no folder for it, or what its name depends on cannot be read.
    """
    major, minor = _ffi()
    return cache_directory() / f"{_stem()}-ffi-{major}.{minor}.so"


def local_libraries() -> list[Path]:
    """The libraries that were built for this machine and run with this version of XLA, the newest
    interface first. Raises KernelError, see `local_library`."""
    major, minor = _ffi()
    names = (f"{_stem()}-ffi-{major}.{of}.so" for of in range(minor, -1, -1))
    return [path for name in names if os.path.lexists(path := cache_directory() / name)]


def _ffi() -> tuple[int, int]:
    try:
        return ffi_version(jax.ffi.include_dir())
    except CompileError as error:
        raise KernelError(str(error)) from error


def _stem() -> str:
    """The part of a library's name that all versions of XLA's interface share."""
    try:
        of = digest(digest_sources(), *flags(), *_machine_flags(), processor.identity())
    except OSError as error:
        raise KernelError(f"The kernel's sources cannot be read: {error}.") from error
    return f"gru-{of}"


def _machine_flags() -> tuple[str, ...]:
    """The options for this processor. If nothing says what it has, those that all of them share:
    the cache may be read by another machine of which nothing is known, either."""
    if not processor.features():
        return ()
    return ("-march=native",) if processor.architecture() == "x86_64" else ("-mcpu=native",)
