"""What of grujax runs on this machine, and why.

python -m grujax            the implementations, their libraries, and which one `None` picks
python -m grujax --time     the same, and one training step at three shapes by each of them
python -m grujax build      builds the native CPU kernel for exactly this machine
"""

from __future__ import annotations

import argparse
import io
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, get_args

import jax
import jax.numpy as jnp
from jax import Array

import grujax
from grujax import implementations
from grujax.implementations.library_cache import KernelError
from grujax.implementations.native import building, loading, processor
from grujax.implementations.native.compiling import LEVELS, CompileError, ffi_version

SHAPES = ((100, 1, 64), (100, 32, 128), (200, 64, 256))  # T, B and H = I
SECONDS = 1.0  # of measurements for each shape and implementation
ENVIRONMENT = (
    "GRUJAX_NATIVE",
    "GRUJAX_CUDA",
    "CXX",
    "XDG_CACHE_HOME",
    "JAX_PLATFORMS",
    "JAX_ENABLE_X64",
    "JAX_DISABLE_JIT",
    "PJRT_NPROC",
    "NPROC",
    "XLA_FLAGS",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m grujax", description="What of grujax runs on this machine, and why."
    )
    parser.add_argument(
        "--time", action="store_true", help="also time one training step by each implementation"
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("build", help="build the native CPU kernel for exactly this machine")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path may be no text
        sys.stdout.reconfigure(errors="backslashreplace")
    if options.command == "build":
        return build()
    lines = [f"{name:<13} {text}".rstrip() for name, text in report()]
    print("\n".join(lines), flush=True)
    if options.time:
        print()
        print_times()
    return 0


def report() -> Iterator[tuple[str, str]]:
    """The lines of the report: a name, and what is to say of it."""
    yield "grujax", f"{grujax.__version__}, {Path(grujax.__file__).parent}"
    yield "jax", f"{jax.__version__}, jaxlib {jax.lib.__version__}, XLA's interface {_ffi()}"
    yield "Python", f"{platform.python_version()}, {sys.executable}"
    yield "platform", f"{platform.system()} {processor.architecture()}"
    yield "processor", f"{processor.model()}, {', '.join(processor.levels()) or 'no known level'}"
    yield "instructions", _describe_instructions()
    yield "threads", _describe_threads()
    yield "devices", _devices()
    values = [f"{name}={os.environ[name]}" for name in ENVIRONMENT if name in os.environ]
    yield "environment", " ".join(values) or "nothing that concerns grujax"
    yield "", ""
    for name in get_args(implementations.Implementation):
        reason = why_not(name)
        yield f'"{name}"', f"not available: {reason}" if reason else "available"
    for dtype in ("float32", "bfloat16"):
        yield "None", f"picks {picked(dtype)} for {dtype}, {_describe(SHAPES[1])}"
    yield "", ""
    libraries = loading.refusals()
    for path, refusal in libraries.items():
        origin = "from the wheel" if path.parent == loading.PREBUILT else "built here"
        is_used = "in use" if path == loading.loaded_library() else "could be used"
        yield "library", f"{path}, {origin}: {refusal or is_used}"
    if not libraries:
        yield "library", "none for this machine; `python -m grujax build` builds one"


def why_not(implementation: str) -> str:
    """Why an implementation cannot run here; "" if it can. Builds nothing."""
    if implementation == "native":
        return "" if loading.is_loaded() else loading.failure() or "It is not loaded."
    try:
        implementations.choose(implementation)
    except ValueError as error:
        known = f'`implementation="{implementation}"` cannot run; "scan" and "plain" can. '
        return str(error).removeprefix(known)
    return ""


def picked(dtype: str, shape: tuple[int, int, int] = SHAPES[1]) -> str:
    """The implementation that `None` picks on the default device, by what JAX lowers."""
    try:
        params, xs = _example(shape, dtype)
        text = jax.jit(grujax.gru).lower(params, xs).as_text()
    except RuntimeError:  # the line of the devices says why
        return "nothing, because JAX cannot start,"
    if "grujax_forward" in text:
        return '"native"'
    return '"cuda"' if "grujax_cuda" in text or "__gpu$" in text else '"scan"'


def print_times() -> None:
    """Times one training step, forward and backward, by each implementation that runs here."""
    names = [name for name in get_args(implementations.Implementation) if not why_not(name)]
    print(f"{'ms for one training step':<30}" + "".join(f"{name:>10}" for name in names))
    for shape in SHAPES:
        print(f"{_describe(shape):<30}", end="", flush=True)
        for name in names:
            print(f"{1e3 * seconds_per_step(shape, name):>10.2f}", end="", flush=True)
        print()


def seconds_per_step(shape: tuple[int, int, int], implementation: Any) -> float:
    """The median time of one training step in float32."""

    @jax.jit
    @jax.grad
    def step(params: grujax.GRUParams, xs: Array) -> Array:
        h_last, hs = grujax.gru(params, xs, implementation=implementation)
        return (h_last**2).sum() + (hs**2).sum()  # not constant, or XLA would fold for long

    params, xs = _example(shape, "float32")
    jax.block_until_ready(step(params, xs))  # compiles
    times: list[float] = []
    while sum(times) < SECONDS and len(times) < 1000:
        start = time.perf_counter()
        jax.block_until_ready(step(params, xs))
        times.append(time.perf_counter() - start)
    return median(times)


def build() -> int:
    """Builds the kernel for this machine, and prints how fast it is; returns the exit status."""
    print("Compiling the native kernel for this processor: about a minute.", flush=True)
    start = time.perf_counter()
    try:
        path = building.build()
        others = [other for other, refusal in loading.refusals().items() if not refusal]
        loading.load_or_build()
    except KernelError as error:
        print(f"The native kernel cannot run, and grujax uses `lax.scan` instead. {error}")
        return 1
    print(f"It took {time.perf_counter() - start:.0f} s and passes its self-test: {path}")
    if loading.loaded_library() != path:
        print(f"It is not in use; this one is: {loading.loaded_library()}")
    _print_ratios(path, [other for other in others if other.parent == loading.PREBUILT])
    return 0


def _print_ratios(path: Path, prebuilt: list[Path]) -> None:
    """Compares the library with those of the wheel and with the scan, in turns."""
    names: dict[str, str] = {"this library": str(path), "the scan": ""}
    names |= {f"the wheel's {other.name}": str(other) for other in prebuilt}
    rounds = [{name: _time_library(library) for name, library in names.items()} for _ in range(3)]
    best = {name: min(times[name] for times in rounds) for name in names}
    print(f"One training step, {_describe(SHAPES[1])}, float32:")
    for name, seconds in best.items():
        ratio = seconds / best["this library"]
        text = f"{1e3 * seconds:8.2f} ms, {ratio:.2f} times this library's time"
        print(f"  {name:<30} {'it cannot run' if math.isnan(seconds) else text}")


def _time_library(library: str) -> float:
    """The time of a step with this library, or with the scan, in a process of its own."""
    program = (
        "from pathlib import Path; from grujax import __main__ as main\n"
        f"if {library!r}: main.loading.open_library(Path({library!r}))\n"
        f"print(main.seconds_per_step(main.SHAPES[1], 'native' if {library!r} else 'scan'))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return float(run.stdout) if run.returncode == 0 else float("nan")


def _example(shape: tuple[int, int, int], dtype: str) -> tuple[grujax.GRUParams, Array]:
    steps, batch, hidden_size = shape
    key: Any = jax.random.key(0)
    params = grujax.init_gru(key, hidden_size, hidden_size, dtype=dtype)
    return params, jax.random.normal(key, (steps, batch, hidden_size)).astype(jnp.dtype(dtype))


def _describe(shape: tuple[int, int, int]) -> str:
    steps, batch, hidden_size = shape
    return f"T = {steps}, B = {batch}, H = {hidden_size}"


def _ffi() -> str:
    try:
        return ".".join(map(str, ffi_version(jax.ffi.include_dir())))
    except CompileError as error:
        return f"unknown: {error}"


def _devices() -> str:
    try:
        kinds = [device.device_kind for device in jax.devices()]
    except RuntimeError as error:
        return f"none: {' '.join(str(error).split())}"
    return f"{len(kinds)} x {kinds[0]}"


def _describe_instructions() -> str:
    """Those of the processor that a library of the wheels may need."""
    known = {feature for level in LEVELS.values() for feature in level}
    found = sorted(processor.features() & known)
    return " ".join(found) or "none that the wheel's libraries need, or /proc/cpuinfo is unreadable"


def _describe_threads() -> str:
    try:
        devices = len(jax.devices("cpu"))
    except RuntimeError:
        devices = 1
    threads, usable = processor.thread_count(devices), processor.usable_cores()
    text = f"{threads}; this process may run on {usable} of {os.cpu_count()} processors"
    limit = processor.cgroup_limit()
    return text + ("" if limit is None else f", for as much time as {limit:g} of them have")


def run() -> int:
    """The command as a program: it ends in silence if nobody reads on, or at Ctrl-C."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # `| head`: what is still to be written goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    sys.exit(run())
