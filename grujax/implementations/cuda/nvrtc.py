"""Compiles the CUDA kernel, once for a layout and a set of operands, by NVIDIA's NVRTC.

NVRTC comes with `jax[cuda13]`, so that no CUDA toolkit is needed. Its PTX lies beside the native
kernel's libraries (`grujax.implementations.native.building`), under a name made of all that it depends on; the
driver makes machine code of it when XLA loads the program.
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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from grujax.implementations.native.building import KernelError, digest, directory

# Clusters of blocks begin with this generation; later ones run its PTX.
ARCHITECTURE = "compute_90"
CAPABILITY = (9, 0)
# What the kernel needs of PTX. NVRTC writes its own version, which an older driver refuses.
_PTX_VERSION = "8.1"

_SOURCE = Path(__file__).parent / "src" / "gru.cu"


def is_installed() -> bool:
    """Whether this Python has JAX's CUDA plugin and an NVRTC, and `GRUJAX_CUDA` is not 0."""
    if os.environ.get("GRUJAX_CUDA") == "0":
        return False
    return _has_plugin() and _find_library() is not None


def compile_to_ptx(definitions: Mapping[str, int]) -> str:
    """The kernel's PTX for these `-D` definitions, from the cache if it is there.

    Raises:
        KernelError: if there is no NVRTC, or it does not compile.
    """
    options = [f"--gpu-architecture={ARCHITECTURE}", "-std=c++17"]
    options += [f"-D{name}={value}" for name, value in sorted(definitions.items())]
    return _compile(tuple(options))


@functools.cache
def _compile(options: tuple[str, ...]) -> str:
    source = _SOURCE.read_text(encoding="utf-8")
    library = _load_library()
    path = directory() / f"gru-{digest(source, *options, _version(library))}.ptx"
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        ptx = _compile_source(library, source, options)
    with suppress(OSError):  # a folder that cannot be written costs the next process a second
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(ptx)
        Path(file.name).replace(path)  # in one step: nobody sees half a file
    return ptx


def _compile_source(library: ctypes.CDLL, source: str, options: tuple[str, ...]) -> str:
    program = ctypes.c_void_p()

    def text(name: str) -> str:
        size = ctypes.c_size_t()
        getattr(library, f"nvrtcGet{name}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(library, f"nvrtcGet{name}")(program, buffer)
        return buffer.value.decode()

    name = _SOURCE.name.encode()
    arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name, 0, None, None)
    try:
        if library.nvrtcCompileProgram(program, len(options), arguments) != 0:
            raise KernelError(f"NVRTC does not compile {_SOURCE.name}:\n{text('ProgramLog')}")
        return re.sub(r"\.version \d+\.\d+", f".version {_PTX_VERSION}", text("PTX"), count=1)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _version(library: ctypes.CDLL) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _load_library() -> ctypes.CDLL:
    path = _find_library()
    if path is None:
        raise KernelError('There is no NVRTC: `pip install "jax[cuda13]"` brings it.')
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise KernelError(f"NVRTC does not load: {error}") from error


@functools.cache
def _find_library() -> str | None:
    """In the packages of NVIDIA on Python's path, the newest first."""
    found = [
        path
        for folder in sys.path
        for path in glob.glob(os.path.join(folder, "nvidia", "c*", "lib", "libnvrtc.so.1?"))
    ]
    return max(found, key=lambda path: Path(path).name, default=None)


@functools.cache
def _has_plugin() -> bool:
    return any(importlib.util.find_spec(f"jax_cuda{major}_plugin") for major in (13, 12))
