"""The first training step of a process: `python -m experiments.benchmark --first-call`.

Each library runs in new processes, which take turns. A process imports JAX and the library, then
compiles the training step without a cache on disk, then runs it once. grujax's native kernel is
loaded and checked while it compiles. What makes the weights and inputs is left out, and so is the
start of Python, which is the same for all.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments.benchmark.peers import LIBRARIES, Setting, compile_program, make_problem
from experiments.common.monitoring import shows_progress
from experiments.common.outputs import write_text

PROCESSES = 5  # of each library
CHILD = """
import time
start = time.perf_counter()
import {modules}
seconds = time.perf_counter() - start
from experiments.benchmark import first_call
first_call.finish({library!r}, {setting!r}, seconds)
"""


class FirstCall(NamedTuple):
    """Seconds of each part."""

    imports: float
    compilation: float  # tracing, lowering, and loading the kernel; none in eager libraries
    step: float

    @property
    def total(self) -> float:
        """Until the first gradients are there."""
        return sum(self)


def measure(library: str, setting: Setting) -> FirstCall:
    """Starts a process that takes one training step."""
    modules = LIBRARIES[library].modules if library in LIBRARIES else ("grujax",)
    child = CHILD.format(
        modules=", ".join(["jax", *modules]), library=library, setting=asdict(setting)
    )
    done = subprocess.run(
        [sys.executable, "-c", child], stdout=subprocess.PIPE, check=True, encoding="utf-8"
    )
    return FirstCall(*json.loads(done.stdout.splitlines()[-1]))


def finish(library: str, setting: dict[str, int], imports: float) -> None:
    """In the new process: compiles the step, runs it, and prints the seconds of the parts."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)
    problem = make_problem(Setting(**setting))
    program = compile_program(library, problem, "training")
    start = time.perf_counter()
    program.run()
    step = time.perf_counter() - start
    print(json.dumps(FirstCall(imports, program.compile_seconds or 0.0, step)))


def report_first_call(columns: Sequence[str], setting: Setting, path: Path) -> None:
    """Writes and prints the medians of each library that trains, in seconds.

    Args:
        columns: names of libraries, or "grujax IMPLEMENTATION".
        setting: of the training step.
        path: of the table in Markdown.
    """
    trained = [x for x in columns if x not in LIBRARIES or "training" in LIBRARIES[x].modes]
    calls: dict[str, list[FirstCall]] = {library: [] for library in trained}
    turns = trained * PROCESSES
    for library in tqdm(turns, desc="benchmark", unit="process", disable=not shows_progress()):
        calls[library].append(measure(library, setting))
    lines = ["| first step, s | import | compile | step | together |", "|---|---|---|---|---|"]
    for library, measured in calls.items():
        parts = [[*call, call.total] for call in measured]
        cells = [f"{median:.2f}" for median in np.median(parts, axis=0)]
        lines.append(f"| {library} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    write_text(path, table + "\n")
    print(f"{table}\n\nWritten: {path}")
