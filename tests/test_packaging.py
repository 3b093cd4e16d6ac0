"""The wheel's build: what `hatch_build.py` compiles, and when it leaves the wheel pure."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import grujax
import hatch_build
from grujax.implementations.native import compiling, processor
from hatch_build import JAXLIB, NATIVE, PYTHONS, NativeKernelHook, long_description
from tests.helpers import COMPILER, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINUX_X86 = "manylinux_2_28_x86_64"
# Writes what it is asked for, and how it was called.
FAKE_COMPILER = """#!/bin/sh
echo "$@" >> "$0.log"
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then echo compiled > "$2"; fi
  shift
done
"""


@pytest.fixture
def compiler(tmp_path, monkeypatch) -> Path:
    """What compiles, at once; the processor is one for x86-64-v4, the system Linux."""
    path = tmp_path / "bin" / "compiler"
    path.parent.mkdir()
    path.write_text(FAKE_COMPILER)
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    monkeypatch.delenv("GRUJAX_WHEEL", raising=False)
    monkeypatch.setattr(processor, "levels", lambda: ["x86-64-v4", "x86-64-v3"])
    run_on(monkeypatch)
    return path


@pytest.fixture
def tree(tmp_path) -> Path:
    """A tree whose kernel an earlier build has compiled."""
    root = tmp_path / "tree"
    folder = root / NATIVE / "prebuilt"
    folder.mkdir(parents=True)
    (folder / "gru-stale.so").write_text("")
    return root


def run_on(
    monkeypatch,
    system: str = "linux",
    libc: str = "glibc",
    version: tuple[int, int] = (3, 12),
    implementation: str = "cpython",
    bits: int = 64,
) -> None:
    """As if the build ran on this system, by this Python."""
    fake = SimpleNamespace(
        platform=system,
        version_info=(*version, 1),
        implementation=SimpleNamespace(name=implementation),
        maxsize=2 ** (bits - 1) - 1,
        modules=sys.modules,
    )
    monkeypatch.setattr(hatch_build, "sys", fake)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, "2.36" if libc else ""))


class Build:
    """One build: what it asks for, says, and packs."""

    def __init__(self, root: Path, target: str = "wheel", version: str = "standard"):
        warnings: list[str] = []
        app = SimpleNamespace(display_warning=warnings.append)
        hook = NativeKernelHook(str(root), {}, None, None, str(root), target, app)  # type: ignore[arg-type]
        self.dependencies = hook.dependencies()
        self.data: dict = {"artifacts": [], "pure_python": True}
        hook.initialize(version, self.data)
        self.warnings = warnings
        folder = root / NATIVE / "prebuilt"
        self.libraries = sorted(path.name for path in folder.glob("*"))
        self.is_pure = self.data == {"artifacts": [], "pure_python": True} and not folder.exists()


@pytest.mark.parametrize("version", ["standard", "editable"])
def test_a_plain_build_is_for_this_machine(compiler, tree, version):
    build = Build(tree, version=version)
    assert build.dependencies == [JAXLIB]
    assert build.libraries == ["gru-x86-64-v4.json", "gru-x86-64-v4.so"]  # without the stale one
    assert build.data["tag"] == f"py3-none-{hatch_build._local_platform()}"
    assert build.data["artifacts"] == [f"/{NATIVE}/prebuilt/*"]
    assert not build.data["pure_python"]
    assert not build.warnings
    description = compiling.Description.read(tree / NATIVE / "prebuilt" / "gru-x86-64-v4.so")
    assert description.features == compiling.LEVELS["x86-64-v4"]


@pytest.mark.parametrize(
    ("wheel", "system", "levels"),
    [
        (LINUX_X86, "linux", ["x86-64-v3", "x86-64-v4"]),
        ("manylinux_2_28_aarch64", "linux", ["armv8-a"]),
        ("macosx_11_0_arm64", "darwin", ["armv8-a"]),
    ],
)
def test_a_platform_s_wheel_has_every_level(compiler, tree, monkeypatch, wheel, system, levels):
    run_on(monkeypatch, system, libc="glibc" if system == "linux" else "")
    monkeypatch.setenv("GRUJAX_WHEEL", wheel)
    build = Build(tree)
    assert build.dependencies == [JAXLIB]
    assert build.libraries == sorted(
        f"gru-{level}{end}" for level in levels for end in (".json", ".so")
    )
    assert build.data["tag"] == f"py3-none-{wheel}"
    calls = compiler.with_suffix(".log").read_text()
    assert {match[1] for match in re.finditer(r"-march=(\S+)", calls)} == set(levels)


def test_any_is_the_pure_wheel(compiler, tree, monkeypatch):
    monkeypatch.setenv("GRUJAX_WHEEL", "any")
    build = Build(tree)
    assert build.is_pure
    assert not build.dependencies


@pytest.mark.parametrize(
    "wheel", ["manylinux", "linux_x86_64", "manylinux_2_28_riscv64", "win_amd64", "Any", "0"]
)
def test_an_unknown_platform_is_refused(compiler, tree, monkeypatch, wheel):
    monkeypatch.setenv("GRUJAX_WHEEL", wheel)
    with pytest.raises(ValueError, match=rf"`GRUJAX_WHEEL` must be any or .* got '{wheel}'"):
        Build(tree)


UNSUPPORTED = [
    {"system": "darwin", "libc": ""},
    {"system": "win32", "libc": ""},
    {"libc": ""},  # musl, to older Pythons
    {"libc": "musl"},
    {"version": (3, 15)},
    {"implementation": "pypy"},
    {"bits": 32},
]


@pytest.mark.parametrize("state", UNSUPPORTED, ids=str)
def test_where_jaxlib_s_headers_are_not_the_wheel_is_pure(compiler, tree, monkeypatch, state):
    run_on(monkeypatch, **state)
    build = Build(tree)
    assert build.is_pure
    assert not build.dependencies
    monkeypatch.setenv("GRUJAX_WHEEL", LINUX_X86)
    with pytest.raises(ValueError, match=r"which needs jaxlib==.* on linux; this is"):
        Build(tree)


def test_a_processor_without_a_level_gets_the_pure_wheel(compiler, tree, monkeypatch):
    monkeypatch.setattr(processor, "levels", list)
    assert Build(tree).is_pure


@pytest.mark.parametrize("command", [None, "", " ", "'", "missing-compiler"])
def test_without_a_compiler_the_wheel_is_pure(compiler, tree, monkeypatch, command):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX")
    if command is not None:
        monkeypatch.setenv("CXX", command)
    build = Build(tree)
    assert build.is_pure
    assert not build.dependencies  # nothing is downloaded in vain


@pytest.mark.parametrize("command", ["false", "true"])
def test_a_compiler_that_fails_yields_the_pure_wheel(compiler, tree, monkeypatch, command):
    monkeypatch.setenv("CXX", command)
    build = Build(tree)
    assert build.is_pure
    (warning,) = build.warnings
    assert warning.startswith("grujax is built without its native kernel. ")
    assert f"`{command}" in warning
    monkeypatch.setenv("GRUJAX_WHEEL", LINUX_X86)
    with pytest.raises(compiling.CompileError):  # a release without its kernel is none
        Build(tree)
    assert not (tree / NATIVE / "prebuilt").exists()


def test_a_compiler_may_have_options(compiler, tree, monkeypatch):
    monkeypatch.setenv("CXX", f"{compiler} -O1")
    assert Build(tree).libraries


def test_without_jaxlib_or_a_folder_the_wheel_is_pure(compiler, tree, monkeypatch):
    shutil.rmtree(tree)  # nobody can write there
    build = Build(tree)
    assert build.is_pure
    assert len(build.warnings) == 1
    monkeypatch.setitem(sys.modules, "jaxlib", None)  # as with `--no-build-isolation`
    (tree / NATIVE).mkdir(parents=True)
    build = Build(tree)
    assert build.is_pure
    assert "jaxlib" in build.warnings[0]


def test_the_source_distribution_compiles_nothing_and_can_build_a_wheel(compiler, tree, tmp_path):
    assert not Build(tree, target="sdist").dependencies
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    sources = {f"{NATIVE}/src/{path.name}" for path in compiling.SOURCE.iterdir() if path.is_file()}
    assert names >= {"hatch_build.py", "pyproject.toml", "README.md", "LICENSE", *sources}
    assert not any(name.endswith(".so") for name in names)


def test_the_long_description_shows_nothing_that_only_the_repository_has():
    text = "See [the page](a.md).\n\n![A plot](b.png)\n\n[JAX](https://jax.dev), [x]."
    assert long_description(text) == "See the page.\n\n[JAX](https://jax.dev), [x]."
    described = long_description((ROOT / "README.md").read_text(encoding="utf-8"))
    assert not re.findall(r"\]\((?!https:)", described)
    assert "](https:" in described


def test_the_numbers_of_versions_agree():
    first_heading = re.search(r"^## \[(.*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first_heading is not None
    assert first_heading[1] == grujax.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {grujax.__version__}\n" in citation
    (first, last), project = PYTHONS, PROJECT["project"]
    versions = [f"3.{minor}" for minor in range(first[1], last[1] + 1)]
    prefix = "Programming Language :: Python :: 3."
    assert [
        of[len(prefix) - 2 :] for of in project["classifiers"] if of.startswith(prefix)
    ] == versions
    assert project["requires-python"] == f">={versions[0]}"
    assert f"jax>={JAXLIB.partition('==')[2]}" in project["dependencies"]
    built = PROJECT["tool"]["cibuildwheel"]["build"].split()
    assert built == [f"cp{version.replace('.', '')}-*" for version in versions]


def interpreters() -> dict[str, Path]:
    """The Pythons of this machine that have wheels of jaxlib."""
    found = {}
    for minor in range(PYTHONS[0][1], PYTHONS[1][1] + 1):
        name = f"python3.{minor}"
        paths = [shutil.which(name)]
        if pyenv := shutil.which("pyenv"):
            run = subprocess.run([pyenv, "prefix", f"3.{minor}"], capture_output=True, text=True)
            paths.append(f"{run.stdout.strip()}/bin/{name}")
        for path in paths:  # pyenv's own command fails where its version is not chosen
            if path and os.path.exists(path):
                command = [path, "-c", "import sys; print(sys.base_prefix)"]
                run = subprocess.run(command, capture_output=True, text=True)
                if run.returncode == 0:
                    found[f"3.{minor}"] = Path(run.stdout.strip()) / "bin" / name
    return found


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> Path:
    """What a release consists of, built from a copy of the tree."""
    if COMPILER is None or processor.architecture() not in compiling.LEVELS_OF:
        pytest.skip("nothing compiles the wheel here")
    folder = tmp_path_factory.mktemp("release")
    copied = ("grujax", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE", ".gitignore")
    for name in copied:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "prebuilt")
            shutil.copytree(ROOT / name, folder / "tree" / name, ignore=ignored)
        else:
            (folder / "tree").mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / "tree" / name)
    wheel = f"manylinux_2_28_{processor.architecture()}"
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(folder / "tree")],
        env={**os.environ, "GRUJAX_WHEEL": wheel},
        check=True,
    )
    return folder / "dist"


@pytest.mark.long
def test_the_wheel_holds_the_kernel_and_no_tests(distributions):
    assert len(list(distributions.glob("*.tar.gz"))) == 1
    (wheel,) = distributions.glob("*.whl")
    assert f"-py3-none-manylinux_2_28_{processor.architecture()}" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    levels = compiling.LEVELS_OF[processor.architecture()]
    assert {f"{NATIVE}/prebuilt/gru-{level}.so" for level in levels} <= set(names)
    assert {name.partition("/")[0] for name in names} == {
        "grujax",
        f"grujax-{grujax.__version__}.dist-info",
    }


@pytest.mark.long
@pytest.mark.parametrize("version", interpreters())
def test_the_wheel_runs_natively_where_nothing_else_is(distributions, tmp_path, version):
    """No compiler, an empty HOME, a read-only installation, and every warning an error."""
    (wheel,) = distributions.glob("*.whl")
    interpreter = interpreters()[version]
    libraries = {"LD_LIBRARY_PATH": str(interpreter.parents[1] / "lib")}
    environment = os.environ | libraries
    venv, home = tmp_path / "venv", tmp_path / "home"
    home.mkdir()
    subprocess.run([interpreter, "-m", "venv", venv], env=environment, check=True)
    python = venv / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", str(wheel)]
    subprocess.run(install, env=environment, check=True)
    shutil.copy(ROOT / "tests" / "installed.py", home.parent)
    shutil.copy(ROOT / "README.md", home.parent)
    before = sorted(venv.rglob("*"))
    for path in [venv, *before]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    run = subprocess.run(
        [python, "-P", "-W", "error", "../installed.py", "../README.md"],
        cwd=home,
        env={**libraries, "PATH": "", "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert 'the first example ran by "native"' in run.stdout
    assert not run.stderr
    assert sorted(venv.rglob("*")) == before
    assert not list(home.iterdir())
