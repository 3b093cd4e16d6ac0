"""The GRU on a GPU: is it right, how fast is it, and does the documentation hold?

The steps, the most important one first: the kernel's self-test; every implementation compared with
float64 on the CPU; the forward pass and the training step compared with cuDNN and with `lax.scan`;
options and launches; Newton's method on long sequences; many models under `vmap`; forward mode;
memory; the other shapes. The training step is the gradient of all weights and inputs. cuDNN is
`torch.nn.GRU`: without TF32 for float32, and for half precision the faster of float16 and bfloat16.
"lax.scan" is `implementation="plain"`, the cell in a scan that JAX differentiates.

No step begins after the given minutes. Results are kept before and after each step in gpu.json; the
next call goes on with what is missing, and repeats what failed once. The report, gpu.md, has a line
for each claim of the documentation, and the tables that it shows. A dry run does the same with tiny
shapes on a CPU.
"""

import hashlib
import json
import os
import sys
import time
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import grujax
from experiments.benchmark import newton
from experiments.benchmark.gpu.checks import CHECKS, Check, run_checks
from experiments.benchmark.gpu.memory import measure_memory
from experiments.benchmark.gpu.programs import Shape, holds
from experiments.benchmark.gpu.report import format_report
from experiments.benchmark.gpu.steps import Results, Step, run_steps
from experiments.benchmark.gpu.timing import (
    time_forward_mode,
    time_models,
    time_options,
    time_shape,
)
from experiments.benchmark.gpu.verdicts import check_step, newton_step, speed_step
from experiments.benchmark.many_models import vmap
from experiments.common.command import InputError
from experiments.common.durable import lock_directory
from experiments.common.outputs import write_text

ALWAYS = 128  # shapes with so many units are measured even where the kernel does not hold them


class Sizes(NamedTuple):
    """How much is measured."""

    first: tuple[Shape, ...]  # shapes, before the other steps
    rest: tuple[Shape, ...]  # and after them
    checks: dict[str, tuple[Check, ...]]  # by implementation
    long: tuple[tuple[int, int], ...]  # steps and units for Newton's method
    population: vmap.Population
    one: Shape  # for options and forward mode
    memory: Shape


_ALL = [
    Shape(dtype, 1000, batch, units)
    for units in (128, 64, 256, 512)
    for batch in (16, 64, 1, 256)
    for dtype in ("float32", "bfloat16")
]
_FIRST = [shape for shape in _ALL if shape.units <= 256 and shape.batch in (16, 64)]
ON_A_GPU = Sizes(
    tuple(_FIRST),
    tuple(shape for shape in _ALL if shape not in _FIRST),
    CHECKS,
    ((10_000, 4), (100_000, 4), (10_000, 32), (100_000, 32)),
    vmap.USUAL,
    Shape("float32", 1000, 16, 128),
    Shape("float32", 1000, 256, 128),
)
_TINY = Check("tiny", 2, 3, options=("lengths", "resets"))
DRY = Sizes(
    (Shape("float32", 4, 2, 3),),
    (Shape("bfloat16", 4, 2, 3),),
    {
        "scan": (_TINY,),
        "plain": (_TINY._replace(reset_after=False),),
        "newton": (_TINY._replace(is_tangent=True),),
    },
    ((8, 2),),
    vmap.Population(2, 4, 2, 3, 3),
    Shape("float32", 4, 2, 3),
    Shape("float32", 4, 2, 3),
)


def report_gpu(folder: Path, minutes: float, dry_run: bool = False, fresh: bool = False) -> str:
    """Runs the steps that are missing, and writes gpu.json and gpu.md into `folder`.

    A dry run writes gpu-dry-run.json and gpu-dry-run.md.

    Raises:
        InputError: there is no GPU, or gpu.json has results of something else.
    """
    start = time.monotonic()
    if dry_run:
        jax.config.update("jax_platforms", "cpu")
    sizes = DRY if dry_run else ON_A_GPU
    about = _describe(sizes, dry_run)
    stem = folder / ("gpu-dry-run" if dry_run else "gpu")
    with lock_directory(folder):
        results = Results(stem.with_suffix(".json"), about, fresh)
        steps: list[Step] = [] if dry_run else [Step("self-test", _self_test)]
        run_steps(steps, results, 60 * minutes, _is_healthy)
        if results.error("self-test"):
            os.environ["GRUJAX_CUDA"] = "0"
            print(
                f"The kernel does not run here: {results.error('self-test')}\nAll else is measured "
                "without it. After a repair, begin anew with --fresh.",
                file=sys.stderr,
            )
        steps += plan(sizes)
        run_steps(steps, results, 60 * minutes - (time.monotonic() - start), _is_healthy)
        report = format_report(results, steps)
        write_text(stem.with_suffix(".md"), report + "\n")
    return report


def plan(sizes: Sizes) -> list[Step]:
    """The steps after the self-test, the most important one first."""
    return [
        *(
            Step(check_step(implementation), partial(run_checks, implementation, checks))
            for implementation, checks in sizes.checks.items()
        ),
        *_speeds(sizes.first),
        Step("options", partial(time_options, sizes.one)),
        *(Step(newton_step(*long), partial(_time_newton, *long)) for long in sizes.long),
        Step("models", partial(time_models, sizes.population)),
        Step("forward mode", partial(time_forward_mode, sizes.one)),
        Step("memory", partial(measure_memory, sizes.memory)),
        *_speeds(sizes.rest),
    ]


def _speeds(shapes: tuple[Shape, ...]) -> list[Step]:
    return [
        Step(speed_step(shape), partial(time_shape, shape))
        for shape in shapes
        if shape.units <= ALWAYS or holds(shape.dtype, shape.units)
    ]


def _self_test() -> dict[str, Any]:
    """Runs the kernel by name, which checks it first. Returns: the most units by dtype.

    Raises:
        ValueError: why it cannot run.
    """
    grujax.gru(grujax.init_gru(jax.random.key(0), 1, 1), jnp.ones((1, 1)), implementation="cuda")
    sizes = (32, 64, 128, 256, 512)
    return {
        "most_units": {
            dtype: max((units for units in sizes if holds(dtype, units)), default=0)
            for dtype in ("float32", "bfloat16")
        }
    }


def _time_newton(steps: int, units: int) -> dict[str, Any]:
    sequential = ("scan", "cuda") if holds("float32", units) else ("scan",)
    return newton.measure(steps, units, sequential)._asdict()


def _is_healthy() -> bool:
    """Whether the device still computes: an illegal access ends that for the whole process."""
    try:
        return float(jnp.ones(2).sum()) == 2
    except RuntimeError:
        return False


def _describe(sizes: Sizes, dry_run: bool) -> dict[str, Any]:
    """The device, the versions and the sizes, as JSON values.

    Raises:
        InputError: there is no GPU.
    """
    try:
        device = jax.local_devices(backend="cpu" if dry_run else "cuda")[0]
    except RuntimeError as error:
        raise InputError(
            "This process has no NVIDIA GPU that JAX can use; `python -m grujax` says what it has. "
            "--dry-run tries the benchmark on a CPU."
        ) from error
    capability = "0.0" if dry_run else device.compute_capability
    sources = sorted((files("grujax") / "implementations" / "cuda" / "src").iterdir(), key=str)
    kernel = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    about = {
        "device": device.device_kind,
        "capability": [int(part) for part in capability.split(".")],
        "versions": {name: _version(name) for name in ("grujax", "jax", "torch")} | _cudnn(),
        "kernel": kernel[:8],
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "dry_run": dry_run,
        "shapes": [*sizes.first, *sizes.rest],
        "long": sizes.long,
        "models": sizes.population.models,
    }
    return json.loads(json.dumps(about))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cudnn() -> dict[str, str]:
    """cuDNN's version, as PyTorch loads it."""
    try:
        import torch
    except ImportError:
        return {"cuDNN": "not installed"}
    return {"cuDNN": str(torch.backends.cudnn.version() or "not installed")}
