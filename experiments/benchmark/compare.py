"""The GRU on the CPU: grujax compared with eight libraries that a Python user could use instead.

    python -m experiments.benchmark --quick     12 points, under 3 minutes on two idle cores
    python -m experiments.benchmark             about 100 points, up to half an hour
    python -m experiments.benchmark --short     calls of 1 to 16 steps, 4 minutes
    python -m experiments.benchmark --implementations scan     without the native kernel
    python -m experiments.benchmark --quick --busy 4 --libraries     with four competing processes
    python -m experiments.benchmark --cells     other cells, also of other libraries, 2 minutes
    python -m experiments.benchmark --cost      how the time grows with T, B, H and threads
    python -m experiments.benchmark --first-call     the first training step of a process, 2 minutes
    python -m experiments.benchmark --sweep     many models at once instead, under 5 minutes
    python -m experiments.benchmark --blocks    a GRU in blocks, compared with a dense one and Flax
    python -m experiments.benchmark --rl        recurrent PPO instead, compared with Flax
    python -m experiments.benchmark --gpu       an NVIDIA GPU instead, with cuDNN, 5 minutes
    python -m experiments.benchmark --gpu --dry-run     the same on a CPU, tiny: does it work?

Each point is a setting (T steps, batch B, input size I, hidden size H) in two modes: the forward
pass, and the training step, which is forward and the gradients of all weights, inputs and the
initial state. At each point all libraries use the same weights (`experiments.benchmark.peers`) and
are compiled one after another. Then they take turns, so that drift of the machine affects all of
them alike (`experiments.common.report.timing`). torch runs eagerly with autograd, on as many
threads as XLA. Peers without lengths or resets are skipped there, and grujax without the mask is
measured as well. onnxruntime and OpenVINO run an ONNX model on as many threads as XLA: the forward
pass alone, with inputs and outputs in place. OpenVINO computes in the dtype of the setting, for
fixed shapes; onnxruntime has no GRU in bfloat16, and its threads do not spin between calls.
`experiments.benchmark.grid` lists the settings.

How to read it: times are medians, "±" is half the interquartile range. "ratio" is the fastest
peer's time divided by grujax's: above 1, grujax is faster. A dash means that a library has no such
program. "roofline" is the least time in which this machine could do the work, as a fraction of
grujax's time. For the forward pass that is the flops of the matrix products, T·B·(I + H)·3H·2, at
the rate of a 2048³ float32 product, plus the bytes of one pass over inputs, states and weights,
(T·B·(I + H) + weights)·itemsize, at the rate of a stream through memory. A training step takes
three such passes: forward, the gradients of states and inputs, the gradients of the weights. Both
rates are measured in the same turns. Temporaries are taken from XLA's memory analysis.

Results go to runs/benchmark, with --quick to runs/benchmark/quick: libraries.csv (one row per
point, library and mode), the report as text, two plots, and the ratios of the second one as CSV.
With --short, libraries-short.csv and its report have no plots. cells.md and cells_libraries.md have
the tables of cells. docs/project/ratios.png and ratios.csv are copies of libraries_ratios.png and
libraries_ratios.csv. An interrupted run resumes where it stopped. After a change of the code or the
machine, use --fresh to measure everything anew.
"""

import platform
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

import grujax
from experiments.benchmark import blocks, rl
from experiments.benchmark.cells import report_cells, report_peers
from experiments.benchmark.cost import report_cost
from experiments.benchmark.first_call import report_first_call
from experiments.benchmark.gpu import report_gpu
from experiments.benchmark.grid import BASE, full_grid, quick_grid, short_grid
from experiments.benchmark.many_models import sweeps, vmap
from experiments.benchmark.measurements import (
    Measurement,
    contestants,
    measure,
    read_csv,
    write_csv,
)
from experiments.benchmark.peers import Setting, compile_program, make_problem, why_missing
from experiments.benchmark.plots import plot_ratios, plot_times
from experiments.benchmark.report import format_ratios, format_report
from experiments.benchmark.settings import Command
from experiments.benchmark.summary import collect_points, summarize
from experiments.common.monitoring import shows_progress
from experiments.common.outputs import write_results, write_text
from experiments.common.provenance import processor
from experiments.common.report.timing import busy_processes
from experiments.common.training.devices import available_cores


def describe_machine(peers: list[str]) -> str:
    """The processor, the number of cores, and the versions of JAX and the peers."""
    distributions = packages_distributions()
    names = dict.fromkeys(distributions[name.split(".")[0]][0] for name in ["jax", *peers])
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    cores = f"{available_cores()} cores"
    return f"{processor()}, {cores}; Python {platform.python_version()}, {versions}"


def can_run_here(implementation: str) -> bool:
    """Whether this machine can run an implementation of grujax; prints the reason if not."""
    params = grujax.init_gru(jax.random.key(0), 1, 1)
    try:
        grujax.gru(params, np.zeros((1, 1), np.float32), implementation=implementation)
    except ValueError as error:
        print(f"grujax {implementation} is skipped: {error}", file=sys.stderr)
        return False
    return True


def find_columns(command: Command) -> tuple[list[str], list[str]]:
    """The implementations of grujax, and the peers, that can run here; prints which are skipped."""
    implementations = [f"grujax {name}" for name in command.implementations if can_run_here(name)]
    peers = []
    for name in command.libraries:
        reason = why_missing(name)
        if reason:
            print(f"{name} is skipped: {reason}.", file=sys.stderr)
        else:
            peers.append(name)
    if "torch" in peers:
        import torch

        torch.set_num_threads(available_cores())
    return implementations, peers


def measure_grid(
    grid: list[Setting], columns: list[str], command: Command, table: Path
) -> list[Measurement]:
    """Measures the points that are not yet in the CSV file `table`, which is updated after each."""
    measurements = [] if command.fresh else read_csv(table)
    tiny = Setting(2, 1, 1, 2)  # keeps a library's work once per process out of its compile time
    for name, mode in contestants(tiny, columns):
        compile_program(name, make_problem(tiny), mode)
    for setting in tqdm(grid, desc="benchmark", unit="point", disable=not shows_progress()):
        done = {(m.library, m.mode) for m in measurements if m.setting == setting}
        if done >= contestants(setting, columns).keys():
            continue
        seconds = command.seconds
        with busy_processes(command.busy):
            new = measure(setting, columns, seconds)
        measurements = [m for m in measurements if m.setting != setting] + new
        write_csv(table, measurements)
    return [m for m in measurements if m.setting in grid]


def compare_libraries(command: Command) -> None:
    """Measures the grid; writes and prints the report."""
    implementations, peers = find_columns(command)
    columns = [*implementations, *peers]
    command.out.mkdir(parents=True, exist_ok=True)
    stem = command.out / ("libraries" + "-short" * command.short + "-busy" * (command.busy > 0))
    table = stem.with_suffix(".csv")
    grid = short_grid() if command.short else quick_grid() if command.quick else full_grid()
    points = collect_points(measure_grid(grid, columns, command, table), columns[0])
    machine = describe_machine(peers)
    report = f"{machine}\n\n{format_report(points, columns)}\n"
    write_text(stem.with_suffix(".txt"), report)
    write_results(stem.with_suffix(".json"), {"machine": machine, **summarize(points)})
    written = [table, stem.with_suffix(".txt"), stem.with_suffix(".json")]
    if not command.short:
        times, ratios = (Path(f"{stem}_{name}.png") for name in ("times", "ratios"))
        plot_times(times, points, BASE)
        plot_ratios(ratios, points)
        write_text(ratios.with_suffix(".csv"), format_ratios(points))
        written += [times, ratios, ratios.with_suffix(".csv")]
    print(f"{report}\nWritten: {', '.join(map(str, written))}")


def main(command: Command) -> None:
    """Runs the comparison that the flags select."""
    if command.gpu:
        return print(report_gpu(command.out, command.minutes, command.dry_run, command.fresh))
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)  # to measure compile times
    if command.cells:
        print(describe_machine([]))
        _, peers = find_columns(command)
        report_cells(BASE, 4 * command.seconds, command.out / "cells.md")
        return report_peers(BASE, peers, 2 * command.seconds, command.out / "cells_libraries.md")
    if command.cost:
        print(describe_machine([]))
        threads = sorted({1, available_cores()})
        return report_cost(threads, command.seconds, command.out / "cost.md")
    if command.first_call:
        implementations, peers = find_columns(command)
        print(describe_machine(peers))
        columns = [*implementations, *peers]
        return report_first_call(columns, BASE, command.out / "first_call.md")
    if command.sweep:
        first = 0 if can_run_here("native") else 1
        print(describe_machine(["flax"]))
        print(vmap.report_vmap(4 * command.seconds, vmap.CONTESTANTS[first:]))
        return print(sweeps.report_sweeps(5, contestants=sweeps.CONTESTANTS[first:]))
    if command.blocks:
        print(describe_machine(["flax"]))
        return print(blocks.report_blocks(4 * command.seconds))
    if command.rl:
        print(describe_machine(["flax"]))
        shapes = rl.QUICK_SHAPES if command.quick else rl.SHAPES
        return print(rl.report_rl(4 * command.seconds, shapes))
    compare_libraries(command)
