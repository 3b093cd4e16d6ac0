"""Compiles the CUDA kernel with NVIDIA's NVRTC, once per layout and set of operands.

NVRTC comes with `jax[cuda13]`, so no CUDA toolkit is needed. The PTX is cached
(`grujax.implementations.library_cache`) under a name that depends on the sources, the options and
NVRTC's version. When XLA loads the program, the driver turns PTX into machine code.
"""

from __future__ import annotations

import ctypes
import functools
import glob
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from grujax.implementations.library_cache import (
    KernelError,
    cache_directory,
    digest,
    read_sources,
)

# The PTX version that the kernel needs. NVRTC writes its own, which older drivers refuse.
_PTX_VERSION = "8.1"

_SOURCE = Path(__file__).parent / "src"
_MAIN = "gru.cu"  # includes all other sources


def is_installed() -> bool:
    """Whether JAX's CUDA plugin and NVRTC are installed, and `GRUJAX_CUDA` is not 0."""
    if os.environ.get("GRUJAX_CUDA") == "0":
        return False
    return _has_plugin() and _find_library() is not None


def compile_to_ptx(architecture: str, definitions: Mapping[str, int]) -> str:
    """The kernel's PTX for `compute_XX` and these `-D` definitions, from the cache if possible.

    Raises:
        KernelError: if NVRTC is not installed or fails.
    """
    options = [f"--gpu-architecture={architecture}", "-std=c++17"]
    options += [f"-D{name}={value}" for name, value in sorted(definitions.items())]
    return _compile(tuple(options))


@functools.cache
def _compile(options: tuple[str, ...]) -> str:
    sources = read_sources(_SOURCE, ".cu", ".cuh")
    library = _load_library()
    texts = [name + text for name, text in sources.items()]
    path = cache_directory() / f"gru-{digest(*texts, *options, _version(library))}.ptx"
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        ptx = _compile_sources(library, sources, options)
        ptx = re.sub(r"\.version \d+\.\d+", f".version {_PTX_VERSION}", ptx, count=1)
    with suppress(OSError):  # without a cache, the next process compiles for a second
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(ptx)
        Path(file.name).replace(path)  # atomic: nobody reads half a file
    return ptx


def _compile_sources(
    library: ctypes.CDLL, sources: Mapping[str, str], options: tuple[str, ...], result: str = "PTX"
) -> str:
    """NVRTC's PTX, or its `ProgramLog`."""
    program = ctypes.c_void_p()

    def text(name: str) -> str:
        size = ctypes.c_size_t()
        getattr(library, f"nvrtcGet{name}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(library, f"nvrtcGet{name}")(program, buffer)
        return buffer.value.decode()

    headers = {name: text for name, text in sources.items() if name != _MAIN}
    library.nvrtcCreateProgram(
        ctypes.byref(program),
        sources[_MAIN].encode(),
        _MAIN.encode(),
        len(headers),
        _strings(headers.values()),
        _strings(headers.keys()),
    )
    try:
        if library.nvrtcCompileProgram(program, len(options), _strings(options)) != 0:
            raise KernelError(f"NVRTC fails to compile {_MAIN}:\n{text('ProgramLog')}")
        return text(result)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _strings(texts: Collection[str]) -> ctypes.Array[ctypes.c_char_p]:
    """An array of C strings."""
    return (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))


def _version(library: ctypes.CDLL) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _load_library() -> ctypes.CDLL:
    path = _find_library()
    if path is None:
        raise KernelError('NVRTC is not installed; `pip install "jax[cuda13]"` installs it.')
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise KernelError(f"NVRTC does not load: {error}") from error


@functools.cache
def _find_library() -> str | None:
    """The newest NVRTC among NVIDIA's packages on Python's path."""
    found = [
        path
        for folder in sys.path
        for path in glob.glob(os.path.join(folder, "nvidia", "c*", "lib", "libnvrtc.so.1?"))
    ]
    return max(found, key=lambda path: Path(path).name, default=None)


@functools.cache
def _has_plugin() -> bool:
    return any(importlib.util.find_spec(f"jax_cuda{major}_plugin") for major in (13, 12))
