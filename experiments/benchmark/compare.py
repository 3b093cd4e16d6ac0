"""The GRU on the CPU: grujax beside six libraries a Python user could pick instead.

    python -m experiments.benchmark --quick     12 points, under 3 minutes on two quiet cores
    python -m experiments.benchmark             about 100 points, half an hour
    python -m experiments.benchmark --implementations scan     without the native kernel
    python -m experiments.benchmark --quick --busy 4 --libraries       beside four busy processes
    python -m experiments.benchmark --cells     other cells instead of other libraries, 2 minutes
    python -m experiments.benchmark --sweep     many models at once instead, under 5 minutes
    python -m experiments.benchmark --gpu       on an NVIDIA GPU instead, beside cuDNN, 3 minutes

Each point is a setting (T steps, batch B, input size I, hidden size H) in two modes: the forward
pass, and the training step: forward, then the gradients of all weights, inputs and the initial
state. At each point all libraries compute with the same weights (`experiments.peers`), are compiled
one after the other, and then take turns, so that the machine's drift hits all of them alike
(`experiments.common.report.timing`). torch runs eagerly with autograd, on as many threads as XLA.

The full grid: T in 32, 128, 784, 2048; B in 1, 16, 64, 256; H in 32, 64, 128, 256, 512, as far as
T·B·H ≤ 2²², which keeps every library's training step below about half a second. I = 64 everywhere,
besides I = 1 at T = 784 (an image pixel by pixel) and I = H at T = 128 (a layer inside a stack).
Then bidirectional, two layers, lengths, resets and bfloat16 at three shapes each; peers without
lengths or resets of their own stay out there, and grujax without the mask takes turns too.

How to read it: times are medians, "±" half the distance of the quartiles. "ratio" is the fastest
peer's time divided by grujax's: above 1, grujax is faster. "roofline" is the least time in which
this machine could do the work, as a fraction of grujax's time. For the forward pass that is the
flops of the matmuls, T·B·(I + H)·3H·2, at the rate of a 2048³ float32 matmul, plus the bytes of one
pass over inputs, states and weights, (T·B·(I + H) + weights)·itemsize, at the rate of a stream
through memory. A training step is three such passes: forward, the gradients of the states and
inputs, the gradients of the weights. Both rates are measured in the same turns. Temporaries are
what XLA's memory analysis says.

Everything goes to runs/benchmark: quick.csv or full.csv (one row per point, library and mode), the
report as text, and two plots; cells.md is the README's table of cells. A run that was stopped goes
on where it was; --fresh begins anew, as it must after any change of the code or of the machine.
"""

import platform
import sys
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

import grujax
from experiments.benchmark import sweep_benchmark, vmap_benchmark
from experiments.benchmark.cell_benchmark import report_cells
from experiments.benchmark.gpu_benchmark import report_gpu
from experiments.benchmark.measurements import Measurement, read_csv, write_csv
from experiments.benchmark.peers import (
    LIBRARIES,
    MODES,
    Setting,
    can_run,
    compile_program,
    make_problem,
    why_missing,
)
from experiments.benchmark.plots import plot_ratios, plot_times
from experiments.benchmark.report import collect_points, format_report
from experiments.benchmark.sweep_benchmark import report_sweeps
from experiments.benchmark.vmap_benchmark import report_vmap
from experiments.common.command import run_command
from experiments.common.report.timing import busy_processes, machine_runs, time_interleaved
from experiments.common.training.devices import available_cores

BASE = Setting(steps=128, batch=16, input_size=64, hidden_size=128)  # where the plots' axes cross
KINDS_BESIDE = ("bidirectional", "two layers", "lengths", "resets")


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    quick: bool = False  # a dozen points instead of the full grid
    libraries: tuple[str, ...] = tuple(LIBRARIES)  # the peers; those not installed are skipped
    # Of grujax, and built if need be; the first is the one compared.
    implementations: tuple[str, ...] = ("native", "scan")
    seconds: float = 2.0  # of timing at a point; with --quick, at most 1
    out: Path = Path("runs/benchmark")
    fresh: bool = False  # measure everything again
    cells: bool = False  # the GRU beside LSTM, RNN and others (`experiments.common.cells`), at BASE
    sweep: bool = False  # many models (`experiments.benchmark.sweep_benchmark`, `.vmap_benchmark`)
    busy: int = 0  # processes that want all cores meanwhile
    gpu: bool = False  # the CUDA kernel (`experiments.benchmark.gpu_benchmark`)


def full_grid() -> list[Setting]:
    """See the top of this file for the rule."""
    grid = [
        Setting(steps, batch, input_size, hidden)
        for steps in (32, 128, 784, 2048)
        for batch in (1, 16, 64, 256)
        for hidden in (32, 64, 128, 256, 512)
        for input_size in sorted({64, *[1] * (steps == 784), *[hidden] * (steps == 128)})
        if steps * batch * hidden <= 2**22
    ]
    beside = (BASE, Setting(784, 64, 64, 64), Setting(128, 64, 64, 256))
    return grid + [setting for shape in beside for setting in variants(shape)]


def quick_grid() -> list[Setting]:
    """A cross through BASE: fewer and more steps, rows, units; then what is beside the grid."""
    arms = {"steps": (32, 784), "batch": (1, 64), "hidden_size": (32, 256)}
    cross = [replace(BASE, **{axis: size}) for axis, sizes in arms.items() for size in sizes]
    return [BASE, *cross, *variants(BASE)]


def variants(shape: Setting) -> list[Setting]:
    """What is measured beside the plain float32 layer."""
    return [replace(shape, kind=kind) for kind in KINDS_BESIDE] + [replace(shape, dtype="bfloat16")]


def roofline_ms(setting: Setting, mode: str, flops: float, bytes_: float) -> float:
    """The least time for a setting at these rates per second; the formula is at the top."""
    h, rows = setting.hidden_size, setting.steps * setting.batch
    itemsize = jax.numpy.dtype(setting.dtype).itemsize
    seconds = 0.0
    for i in [size for layer in setting.input_sizes() for size in layer]:
        weights = (i + h) * 3 * h + 4 * h
        seconds += rows * (i + h) * 3 * h * 2 / flops
        seconds += (rows * (i + h) + weights) * itemsize / bytes_
    return 1e3 * seconds * (3 if mode == "training" else 1)


def contestants(setting: Setting, columns: list[str]) -> dict[str, tuple[str, bool]]:
    """The rows to measure at a point: (library, whether it gets the setting's mask)."""
    rows = {name: (name, True) for name in columns if can_run(name, setting.kind)}
    if setting.kind in ("lengths", "resets"):
        rows[f"{columns[0]} unmasked"] = (columns[0], False)
    return rows


def measure(setting: Setting, columns: list[str], seconds: float) -> list[Measurement]:
    """Compiles everything for one point, then times all of it in turns."""
    problem = make_problem(setting)
    unmasked = problem._replace(lengths=None, resets=None)
    programs = {
        (row, mode): compile_program(library, problem if masked else unmasked, mode)
        for row, (library, masked) in contestants(setting, columns).items()
        for mode in MODES
    }
    machine = machine_runs()
    runs = {f"{row}/{mode}": program.run for (row, mode), program in programs.items()}
    times = time_interleaved(runs | {name: run for name, (run, _) in machine.items()}, seconds)
    flops, bytes_ = (work / np.median(times[name]) for name, (_, work) in machine.items())
    measurements = []
    for (row, mode), program in programs.items():
        lower, median, upper = 1e3 * np.percentile(times[f"{row}/{mode}"], (25, 50, 75))
        megabytes = None if program.temporaries is None else program.temporaries / 1e6
        measurements.append(
            Measurement(
                **asdict(setting),
                library=row,
                mode=mode,
                median_ms=round(median, 5),
                lower_ms=round(lower, 5),
                upper_ms=round(upper, 5),
                rounds=len(times[f"{row}/{mode}"]),
                roofline_ms=round(roofline_ms(setting, mode, flops, bytes_), 5),
                compile_s=program.compile_seconds and round(program.compile_seconds, 3),
                temporaries_mb=megabytes,
                matmul_gflops=round(flops / 1e9, 1),
                stream_gbytes=round(bytes_ / 1e9, 2),
            )
        )
    return measurements


def describe_machine(peers: list[str]) -> str:
    """The processor, the number of cores used, and the versions of all that is compared."""
    packages = {"haiku": "dm-haiku"}
    names = ["jax", *dict.fromkeys(packages.get(name, name.split(".")[0]) for name in peers)]
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return f"{model}, {available_cores()} cores; Python {platform.python_version()}, {versions}"


def can_run_here(implementation: str) -> bool:
    """Whether this machine has it; says so if not."""
    params = grujax.init_gru(jax.random.key(0), 1, 1)
    try:
        grujax.gru(params, np.zeros((1, 1), np.float32), implementation=implementation)
    except ValueError as error:
        print(f"grujax {implementation} is skipped: {error}", file=sys.stderr)
        return False
    return True


def main(settings: Settings) -> None:
    if settings.gpu:
        return print(report_gpu(settings.out))
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)  # or nothing would be compiled
    if settings.cells:
        print(describe_machine([]))
        settings.out.mkdir(parents=True, exist_ok=True)
        return report_cells(BASE, 4 * settings.seconds, settings.out / "cells.md")
    if settings.sweep:
        first = 0 if can_run_here("native") else 1
        print(describe_machine(["flax"]))
        print(report_vmap(4 * settings.seconds, vmap_benchmark.CONTESTANTS[first:]))
        return print(report_sweeps(5, contestants=sweep_benchmark.CONTESTANTS[first:]))
    columns = [f"grujax {name}" for name in settings.implementations if can_run_here(name)]
    own = len(columns)
    for name in settings.libraries:
        reason = why_missing(name)
        if reason:
            print(f"{name} is skipped: {reason}.", file=sys.stderr)
        else:
            columns.append(name)
    if "torch" in columns:
        import torch

        torch.set_num_threads(available_cores())

    settings.out.mkdir(parents=True, exist_ok=True)
    stem = settings.out / (("quick" if settings.quick else "full") + "-busy" * (settings.busy > 0))
    table = stem.with_suffix(".csv")
    measurements = [] if settings.fresh else read_csv(table)
    grid = quick_grid() if settings.quick else full_grid()
    for name in columns:  # what a library does once in a process is not its compile time
        for mode in MODES:
            compile_program(name, make_problem(Setting(2, 1, 1, 2)), mode)
    for setting in tqdm(grid, desc="benchmark", unit="point"):
        there = {m.library for m in measurements if m.setting == setting}
        if there >= contestants(setting, columns).keys():
            continue
        seconds = min(settings.seconds, 1) if settings.quick else settings.seconds
        with busy_processes(settings.busy):
            new = measure(setting, columns, seconds)
        measurements = [m for m in measurements if m.setting != setting] + new
        write_csv(table, measurements)

    points = collect_points([m for m in measurements if m.setting in grid], columns[0])
    report = format_report(points, columns)
    report = f"{describe_machine(columns[own:])}\n\n{report}\n"
    stem.with_suffix(".txt").write_text(report, encoding="utf-8")
    plot_times(Path(f"{stem}_times.png"), points, BASE)
    plot_ratios(Path(f"{stem}_ratios.png"), points)
    print(f"{report}\nWritten: {table}, {stem}.txt, {stem}_times.png, {stem}_ratios.png")


def cli() -> None:
    """Runs the command line."""
    run_command(main, Settings, __doc__)
