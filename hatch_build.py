"""Compiles the native CPU kernel into the wheel.

A plain `pip install .`, also with `-e`, builds the library for the machine at hand. With
`GRUJAX_WHEEL` set to a platform, such as `manylinux_2_28_x86_64`, the wheel is for all machines of
that platform: it holds a library for each level of instructions, and a failure is an error.
Elsewhere a failure, or no compiler, yields the pure wheel, whose GRU runs by `lax.scan`.
`GRUJAX_WHEEL=any` asks for that one.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The oldest that grujax supports: what is built with its headers runs with later ones as well.
JAXLIB = "jaxlib==0.10.2"
NATIVE = "grujax/implementations/native"


class NativeKernelHook(BuildHookInterface):
    """Adds the libraries, and the tag of their platform, to the wheel."""

    def dependencies(self) -> list[str]:
        """XLA's headers, where they will be compiled against."""
        return [JAXLIB] if self._machines() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles before the wheel is packed."""
        folder = Path(self.root) / NATIVE / "prebuilt"
        shutil.rmtree(folder, ignore_errors=True)
        platform = os.environ.get("GRUJAX_WHEEL")
        try:
            for level in self._machines():
                folder.mkdir(exist_ok=True)
                self._compile(level, folder / f"gru-{level}.so")
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            if platform:
                raise
            self.app.display_warning(f"grujax is built without its native kernel. {error}")
        if folder.is_dir():
            build_data["artifacts"].append(f"/{NATIVE}/prebuilt/*")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform or _local_platform()}"

    def _machines(self) -> list[str]:
        """The levels of instructions to compile for, the fastest first."""
        platform = os.environ.get("GRUJAX_WHEEL")
        if self.target_name != "wheel" or not _is_supported() or platform == "any":
            return []
        if platform:
            architecture = _module("compiling").LEVELS_OF
            return list(next(of for name, of in architecture.items() if platform.endswith(name)))
        has_compiler = any(map(shutil.which, _compilers()))
        return _module("processor").levels()[:1] if has_compiler else []

    def _compile(self, level: str, path: Path) -> None:
        import jaxlib

        compiling = _module("compiling")
        include = str(Path(jaxlib.__file__).parent / "include")
        features = compiling.LEVELS[level]
        compiling.compile_library(_compilers(), (f"-march={level}",), features, include, path)


def _is_supported() -> bool:
    """Whether jaxlib has wheels for this system: Linux with glibc."""
    return sys.platform == "linux" and bool(os.confstr("CS_GNU_LIBC_VERSION"))


def _local_platform() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _compilers() -> tuple[str, ...]:
    chosen = os.environ.get("CXX")
    return _module("compiling").COMPILERS if chosen is None else (chosen,)


def _module(name: str) -> ModuleType:
    """A module of the native kernel, without the rest of grujax, which needs JAX."""
    for module_name in ("compiling", "processor"):  # the second imports the first
        full_name = f"grujax.implementations.native.{module_name}"
        if full_name not in sys.modules:
            path = Path(__file__).parent / NATIVE / f"{module_name}.py"
            spec = importlib.util.spec_from_file_location(full_name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[full_name] = module
            spec.loader.exec_module(module)
    return sys.modules[f"grujax.implementations.native.{name}"]
