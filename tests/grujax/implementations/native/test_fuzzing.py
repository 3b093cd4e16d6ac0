"""The native kernel under the sanitizers, on random cases, compared with the equations.

The seeds are new in every run. A failure prints the one of its case, which `GRUJAX_FUZZ_SEED=...`
repeats.
"""

import os
import platform
import re
import subprocess
from pathlib import Path

import pytest

from grujax.implementations.native import compiling
from tests.helpers import COMPILER, ROOT

PROGRAM = ROOT / "tests" / "fixtures" / "native_fuzz.cpp"
# Not what needs XLA's headers, nor what a library alone needs.
SOURCES = [path for path in compiling.sources() if path.stem not in ("xla_ffi", "glibc")]
SEED = "GRUJAX_FUZZ_SEED"

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

IS_X86 = platform.machine() in ("x86_64", "AMD64")
NATIVE = "native" if IS_X86 else None


def compile_fuzzer(sanitizers: str, machine: str | None, folder: Path) -> Path:
    """Compiles the kernel and the program; skips the test if the compiler has no sanitizers."""
    flags = ["-std=c++17", "-O1", "-g", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    flags += [] if machine is None else [f"-march={machine}"]
    fuzzer = folder / "fuzzer"
    command = [COMPILER, *flags, "-pthread", f"-I{SOURCES[0].parent}", str(PROGRAM)]
    command += [*map(str, SOURCES), "-o", str(fuzzer)]
    compiled = subprocess.run(command, capture_output=True, text=True)
    if compiled.returncode != 0 and "sanitize" in compiled.stderr.replace(" ".join(flags), ""):
        pytest.skip("the compiler has no sanitizers")
    assert compiled.returncode == 0, compiled.stderr
    return fuzzer


def fuzz(sanitizers: str, machine: str | None, cases: int, folder: Path) -> None:
    """Runs this number of cases with new seeds, or from that of `GRUJAX_FUZZ_SEED` on."""
    seed = os.environ.get(SEED, str(int.from_bytes(os.urandom(4))))
    command = [str(compile_fuzzer(sanitizers, machine, folder)), seed, str(cases)]
    run = subprocess.run(command, capture_output=True, text=True)
    if "unexpected memory mapping" in run.stderr:  # addresses are too random for this sanitizer
        run = subprocess.run(["setarch", "-R", *command], capture_output=True, text=True)
    seeds = re.findall(r"^seed (\d+):", run.stdout, re.MULTILINE)
    what = "\n".join(run.stdout.splitlines()[-2:]) + run.stderr
    assert run.returncode == 0, f"{SEED}={seeds[-1] if seeds else seed} repeats it\n{what}"
    assert len(seeds) == cases


@pytest.mark.slow
def test_random_cases_agree_with_the_equations_under_the_sanitizers(tmp_path):
    fuzz("address,undefined", NATIVE, 120, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_a_thousand_random_cases_agree_with_the_equations(sanitizers, tmp_path):
    fuzz(sanitizers, NATIVE, 1000, tmp_path)


@pytest.mark.long
@pytest.mark.skipif(not IS_X86, reason="of x86 alone")
@pytest.mark.parametrize("machine", ["x86-64", "x86-64-v3"])  # SSE and AVX2
def test_random_cases_agree_on_other_processors(machine, tmp_path):
    if machine == "x86-64-v3" and " avx2 " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("the processor has no AVX2")
    fuzz("address,undefined", machine, 300, tmp_path)
