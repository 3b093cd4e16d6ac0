"""When all steps at once pay: Newton's method beside the scan and the platform's kernel.

    python -m experiments.newton_benchmark       a few minutes on 2 CPU cores

Milliseconds a sequence, forward with B = 1, all programs of a row taking turns, and the iterations
that Newton's method needs, with the whole Jacobian of each step ("dense") and with its diagonal. It
trades more work for fewer steps in a row: a CPU has few arithmetic units to do it with.
"""

import jax
from tqdm import tqdm

from experiments.benchmark.newton_comparison import crossover_of, measure, table_of

STEPS, SIZES = (1_000, 10_000, 100_000), (4, 8, 16, 32)


def main() -> None:
    """Measures and prints a table."""
    sequential = ("scan", "cuda" if jax.default_backend() == "gpu" else "native")
    shapes = [(steps, size) for steps in STEPS for size in SIZES]
    rows = [measure(*shape, sequential) for shape in tqdm(shapes, desc="shapes")]
    print(table_of(rows))
    print(crossover_of(rows))
