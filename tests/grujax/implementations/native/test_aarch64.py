"""The native kernel on ARM, emulated by QEMU. No ARM machine has run these tests."""

import os
import shutil
import subprocess
from pathlib import Path

import jax
import pytest

from grujax.implementations.native import compiling
from tests.grujax.implementations.native.test_fuzzing import PROGRAM, SOURCES

COMPILER, EMULATOR = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        COMPILER is None or EMULATOR is None,
        reason="needs qemu-user and g++-aarch64-linux-gnu (packages of Debian)",
    ),
]
MACHINE = "-march=armv8-a"
SELF_TEST = """
#include <dlfcn.h>
int main(int, char** arguments) {
  void* library = dlopen(arguments[1], RTLD_NOW);
  if (!library) return 2;
  auto passes = reinterpret_cast<bool (*)()>(dlsym(library, "grujax_passes_self_test"));
  return passes() ? 0 : 3;
}
"""


def compile_program(source: str, *files: Path, path: Path) -> Path:
    path.with_suffix(".cpp").write_text(source)
    include = f"-I{compiling.SOURCE}"
    command = [COMPILER, *compiling.flags(), MACHINE, include, str(path.with_suffix(".cpp"))]
    subprocess.run([*command, *map(str, files), "-ldl", "-o", str(path)], check=True)
    return path


def emulate(program: Path, *arguments: str) -> subprocess.CompletedProcess:
    prefix = os.environ.get("QEMU_LD_PREFIX", "/usr/aarch64-linux-gnu")
    command = [EMULATOR, "-L", prefix, str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_library_of_the_wheel_passes_its_self_test(tmp_path):
    library, features = tmp_path / "gru-armv8-a.so", compiling.LEVELS["armv8-a"]
    compiling.compile_library((COMPILER,), (MACHINE,), features, jax.ffi.include_dir(), library)
    program = compile_program(SELF_TEST, path=tmp_path / "self_test")
    run = emulate(program, str(library))
    assert run.returncode == 0, run.stderr


def test_random_cases_agree_with_the_reference(tmp_path):
    source = PROGRAM.read_text()
    files = SOURCES
    run = emulate(compile_program(source, *files, path=tmp_path / "fuzz"), "7", "200")
    assert run.returncode == 0, run.stdout + run.stderr
