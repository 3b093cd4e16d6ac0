"""The GRU on a GPU: a check that it is right, then its speed next to a scan, Flax and cuDNN.

Each point is a dtype, batch B and hidden size H, with H inputs and T = 1000 steps, in two modes:
the forward pass, and the training step, which is the gradient of all weights and inputs. cuDNN is
`torch.nn.GRU`: without TF32 for float32, and for half precision the faster of float16 and bfloat16.
The scan is `implementation="plain"`: `lax.scan` over the cell, differentiated by JAX. The programs
of a point take turns; a turn launches as many calls as take a few milliseconds, without waiting.

"limit" is a lower limit for the kernel's time on this device, as a fraction of the measured time:
the time of its matrix products at the rate of a large product in the same dtype, or the time of its
memory traffic (inputs, outputs, and values kept between the passes) at the rate of a copy,
whichever is longer. It ignores that each step waits for the one before, which takes most of the
time in small batches.

The report ends with Newton's method, which solves for all steps at once, on one long sequence.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from tqdm import tqdm

import grujax
from experiments.benchmark import newton
from experiments.benchmark.gpu.checks import run_checks
from experiments.benchmark.gpu.programs import Shape, compile_programs, holds, make_calls
from experiments.benchmark.gpu.report import DTYPES, Point, format_points, summarize, write_csv
from experiments.benchmark.gpu.timing import (
    copy_rate,
    device_kind,
    least_microseconds,
    matmul_rate,
    time_calls,
)
from experiments.benchmark.peers import MODES
from experiments.common.command import InputError
from experiments.common.outputs import write_text

BATCHES = (1, 16, 64, 256)
UNITS = (64, 128, 256, 512)
LONG_SEQUENCE = (100_000, 32)  # steps and units for Newton's method


def report_gpu(folder: Path) -> str:
    """Checks the kernel, times it, and writes gpu.csv and gpu.md into `folder`.

    Raises:
        InputError: if there is no GPU that can run the kernel.
    """
    try:
        grujax.gru(
            grujax.init_gru(jax.random.key(0), 1, 1), jnp.ones((1, 1)), implementation="cuda"
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    checks = run_checks()
    print(checks, flush=True)
    rates = {dtype: matmul_rate(dtype) for dtype in DTYPES}
    bandwidth = copy_rate()
    folder.mkdir(parents=True, exist_ok=True)
    points = _measure(folder / "gpu.csv", rates, bandwidth)
    long = newton.format_rows([newton.measure(*LONG_SEQUENCE, ("scan", "cuda"))])
    report = "\n\n".join(
        [
            f"{device_kind()}, jax {jax.__version__}; matrix products "
            + ", ".join(f"{rate / 1e12:.0f} TFLOP/s in {dtype}" for dtype, rate in rates.items())
            + f", copies {bandwidth / 1e12:.2f} TB/s",
            checks,
            *(format_points(points, dtype) for dtype in DTYPES),
            summarize(points),
            f"A long sequence, B = 1, forward, float32:\n\n{long}",
        ]
    )
    write_text(folder / "gpu.md", report + "\n")
    return report


def _measure(table: Path, rates: dict[str, float], bandwidth: float) -> list[Point]:
    """Times all programs at all shapes, and rewrites the CSV file after each shape."""
    shapes = [
        Shape(dtype, batch, units)
        for dtype in DTYPES
        for units in UNITS
        if holds(dtype, units)
        for batch in BATCHES
    ]
    programs = compile_programs(shapes)
    points: list[Point] = []
    for shape in tqdm(shapes, desc="gpu", unit="point"):
        for mode in MODES:
            limit = least_microseconds(shape, mode, rates[shape.dtype], bandwidth)
            points += [
                Point(*shape, mode, name, round(micros, 3), round(limit, 3))
                for name, micros in time_calls(make_calls(programs, shape, mode)).items()
            ]
        write_csv(table, points)
    return points
