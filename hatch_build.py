"""Compiles the native CPU kernel into the wheel, and makes the package's long description.

A plain `pip install .`, also with `-e`, builds the library for the machine at hand. Where that is
not possible or fails, it installs the pure wheel, whose GRU runs by `lax.scan`.

`GRUJAX_WHEEL` asks for the wheel of a platform, such as `manylinux_2_28_x86_64`: it is for all its
machines, holds a library for each level of instructions, and a failure is an error. The platform
`any` is the pure wheel.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

# The oldest that grujax supports: what is built with its headers runs with later ones as well.
JAXLIB = "jaxlib==0.10.2"
PYTHONS = ((3, 11), (3, 14))  # the first and the last for which it has wheels
NATIVE = "grujax/implementations/native"
# What `GRUJAX_WHEEL` may be, and the system on which such a wheel is built. Macs are untested.
SYSTEM_OF = {
    r"manylinux_\d+_\d+_(x86_64|aarch64)": "linux",
    r"macosx_\d+_\d+_(arm64)": "darwin",
}


class LongDescriptionHook(MetadataHookInterface):
    """The long description of the package: the README without what only the repository has."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling, since `readme` is dynamic."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": long_description(text)}


def long_description(readme: str) -> str:
    """Leaves out pictures, and turns links to files of the repository into their text."""
    without_pictures = re.sub(r"!\[[^]]*\]\((?!https?:)[^)]*\)\n*", "", readme)
    return re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", without_pictures)


class NativeKernelHook(BuildHookInterface):
    """Adds the libraries, and the tag of their platform, to the wheel."""

    def dependencies(self) -> list[str]:
        """XLA's headers, where they will be compiled against."""
        return [JAXLIB] if self._levels() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles before the wheel is packed."""
        folder = Path(self.root) / NATIVE / "prebuilt"
        shutil.rmtree(folder, ignore_errors=True)
        chosen = _chosen_platform()
        try:
            for level in self._levels():
                folder.mkdir(exist_ok=True)
                self._compile(level, folder / f"gru-{level}.so")
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            if chosen:
                raise
            self.app.display_warning(f"grujax is built without its native kernel. {error}")
        if folder.is_dir():
            build_data["artifacts"].append(f"/{NATIVE}/prebuilt/*")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{chosen or _local_platform()}"

    def _levels(self) -> list[str]:
        """The levels of instructions to compile for, the fastest first."""
        chosen = _chosen_platform()
        if self.target_name != "wheel" or chosen == "any":
            return []
        if chosen:
            return list(_module("compiling").LEVELS_OF[_architecture(chosen)])
        can_compile = sys.platform == "linux" and _has_headers() and _has_compiler()
        return _module("processor").levels()[:1] if can_compile else []

    def _compile(self, level: str, path: Path) -> None:
        import jaxlib

        compiling = _module("compiling")
        include = str(Path(jaxlib.__file__).parent / "include")
        features = compiling.LEVELS[level]
        compiling.compile_library(_compilers(), (f"-march={level}",), features, include, path)


def _chosen_platform() -> str:
    """The value of `GRUJAX_WHEEL`, "" without one.

    Raises:
        ValueError: if there is no such platform, or if its wheel cannot be built here.
    """
    chosen = os.environ.get("GRUJAX_WHEEL", "").strip()
    if chosen in ("", "any"):
        return chosen
    systems = [system for pattern, system in SYSTEM_OF.items() if re.fullmatch(pattern, chosen)]
    if not systems:
        raise ValueError(
            "`GRUJAX_WHEEL` must be any or a platform, such as manylinux_2_28_x86_64, "
            f"manylinux_2_28_aarch64 or macosx_11_0_arm64; got {chosen!r}"
        )
    if systems != [sys.platform] or not _has_headers():
        raise ValueError(
            f"`GRUJAX_WHEEL` is {chosen!r}, which needs {JAXLIB} on {systems[0]}; this is "
            f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}"
        )
    return chosen


def _architecture(chosen: str) -> str:
    return "x86_64" if chosen.endswith("x86_64") else "aarch64"


def _has_headers() -> bool:
    """Whether jaxlib, which has them, has a wheel for this Python and this system."""
    is_python = sys.implementation.name == "cpython" and sys.maxsize > 2**32
    first, last = PYTHONS
    has_c_library = sys.platform != "linux" or platform.libc_ver()[0] == "glibc"
    return is_python and first <= sys.version_info[:2] <= last and has_c_library


def _has_compiler() -> bool:
    """Whether one of the commands, each maybe with options, is installed."""
    return any(map(_is_installed, _compilers()))


def _is_installed(command: str) -> bool:
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return bool(words) and shutil.which(words[0]) is not None


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
