"""Building, caching and loading the native kernel."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grujax.implementations.native import building
from tests.helpers import COMPILER, ROOT

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

RUN = """
import logging
logging.basicConfig(format="%(levelname)s %(message)s")
logging.getLogger("grujax").setLevel(logging.INFO)
import jax, grujax
params = grujax.init_gru(jax.random.key(0), 2, 3)
run = jax.jit(lambda xs: grujax.gru(params, xs)[0])
xs = jax.numpy.ones((4, 5, 2))
print("native" if "grujax_forward" in run.lower(xs).as_text() else "scan")
grujax.gru(params, xs)
"""


def python(*arguments: str, cache: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A cache folder in which two processes built the kernel at the same time."""
    cache = tmp_path_factory.mktemp("cache")
    command = [sys.executable, "-m", "grujax.kernels"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all("passes its self-test" in output for output in outputs)
    return cache


def libraries(cache: Path) -> list[Path]:
    return list((cache / "grujax" / "kernels").glob("*.so"))


@needs_compiler
@pytest.mark.slow
def test_two_processes_build_one_library_which_is_used_from_then_on(built):
    assert len(libraries(built)) == 1
    again = python("-m", "grujax.kernels", cache=built, CXX="no-such-compiler")
    assert again.returncode == 0
    assert "was already built" in again.stdout
    assert python("-c", RUN, cache=built).stdout.split() == ["native"]
    off = python("-c", RUN, cache=built, GRUJAX_NATIVE="0")
    assert off.stdout.split() == ["scan"]


def test_nothing_is_compiled_unless_asked(tmp_path):
    run = python("-c", RUN, cache=tmp_path)
    assert run.stdout.split() == ["scan"]
    assert libraries(tmp_path) == []
    if os.environ.get("GRUJAX_NATIVE") != "0":
        assert run.stderr.count("INFO grujax uses `lax.scan`") == 1  # once per process


def test_without_a_compiler_the_reason_is_given(tmp_path):
    build = python("-m", "grujax.kernels", cache=tmp_path, CXX="no-such-compiler")
    assert build.returncode == 1
    assert "no-such-compiler is not installed" in build.stdout
    forced = RUN.replace("params, xs)[0]", 'params, xs, implementation="native")[0]')
    run = python("-c", forced, cache=tmp_path, CXX="no-such-compiler")
    assert 'ValueError: `implementation="native"` cannot run; "scan" and "plain" can' in run.stderr
    off = python("-c", forced, cache=tmp_path, GRUJAX_NATIVE="0")
    assert "GRUJAX_NATIVE is 0" in off.stderr


def test_a_compiler_that_fails_is_quoted(tmp_path):
    build = python("-m", "grujax.kernels", cache=tmp_path, CXX="false")
    assert build.returncode == 1
    assert "`false" in build.stdout
    assert libraries(tmp_path) == []


@needs_compiler
@pytest.mark.slow
def test_a_broken_library_is_reported_once_and_not_used(built, tmp_path):
    directory = tmp_path / "grujax" / "kernels"
    directory.mkdir(parents=True)
    (directory / libraries(built)[0].name).write_bytes(b"not a library")
    run = python("-c", RUN, cache=tmp_path)
    assert run.stdout.split() == ["scan"]
    assert run.stderr.count("WARNING grujax uses `lax.scan`") == 1


# --- the old module ------------------------------------------------------------------------------


@needs_compiler
def test_the_command_of_the_old_module_works():
    run = subprocess.run(
        [sys.executable, "-m", "grujax.kernels"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "was already built and passes its self-test" in run.stdout  # by tests/conftest.py


@pytest.mark.parametrize("name", ["KernelError", "build_and_load", "is_loaded"])
def test_the_names_of_the_old_module_are_deprecated(name):
    kernels = importlib.import_module("grujax.kernels")
    with pytest.warns(DeprecationWarning, match=rf"`grujax\.kernels\.{name}` is deprecated"):
        old = getattr(kernels, name)
    assert old is getattr(building, name)


def test_the_old_module_has_no_other_names():
    with pytest.raises(AttributeError, match=r"'grujax\.kernels' has no attribute"):
        importlib.import_module("grujax.kernels").digest  # noqa: B018
