"""Builds the native kernel for exactly this machine, into the cache.

A library's name depends on the sources, the flags and the processor, so a home directory that
different machines share holds one library for each of them.
"""

from __future__ import annotations

import os
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
    CompileError,
    compile_library,
    digest_sources,
    ffi_version,
    flags,
)


def build() -> Path:
    """Compiles the kernel with the first compiler that succeeds. Returns the library's path.

    If two processes call this at once, one waits for the other.

    Raises:
        KernelError: if there is no compiler that works, or no folder for the library.
    """
    chosen = os.environ.get("CXX")
    compilers = COMPILERS if chosen is None else (chosen,)
    include = jax.ffi.include_dir()
    path = local_library()
    with lock_cache():
        try:
            features = tuple(sorted(processor.features()))
            compile_library(compilers, _machine_flags(), features, include, path)
        except CompileError as error:
            raise KernelError(str(error)) from error
    return path


def local_library() -> Path:
    """Where the library for this machine is, or would be."""
    of = digest(digest_sources(), *flags(), *_machine_flags(), processor.identity())
    major, minor = ffi_version(jax.ffi.include_dir())
    return cache_directory() / f"gru-{of}-ffi-{major}.{minor}.so"


def local_libraries() -> list[Path]:
    """The libraries that were built for this machine, the newest interface first."""
    path = local_library()
    stem = path.name.partition("-ffi-")[0]
    return sorted(path.parent.glob(f"{stem}-ffi-*.so"), reverse=True)


def _machine_flags() -> tuple[str, ...]:
    return ("-march=native",) if processor.architecture() == "x86_64" else ("-mcpu=native",)
