"""Times Newton's method, which solves for all steps at once, against the scan and the kernel.

    python -m experiments.newton_benchmark       a few minutes on 2 CPU cores

The table shows milliseconds per sequence, forward with B = 1, and the iterations that Newton's
method needs with the full Jacobian of each step ("dense") and with its diagonal. The programs of a
row take turns. Newton's method does more work in fewer sequential steps, so it needs many
arithmetic units, which a CPU does not have.
"""

import jax
from tqdm import tqdm

from experiments.benchmark import newton
from experiments.common.monitoring import shows_progress
from experiments.common.outputs import write_results
from experiments.newton_benchmark.settings import Command


def main(command: Command) -> None:
    """Measures all shapes, prints a table, and writes results.json."""
    sequential = ("scan", "cuda" if jax.default_backend() == "gpu" else "native")
    shapes = [(steps, size) for steps in command.steps for size in command.sizes]
    progress = tqdm(shapes, desc="shapes", disable=not shows_progress())
    rows = [newton.measure(*shape, sequential) for shape in progress]
    print(newton.format_rows(rows))
    print(newton.describe_crossover(rows))
    write_results(command.out / "results.json", [row._asdict() for row in rows])
