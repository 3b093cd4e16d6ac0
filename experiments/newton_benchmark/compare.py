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

STEPS, SIZES = (1_000, 10_000, 100_000), (4, 8, 16, 32)


def main() -> None:
    """Measures all shapes and prints a table."""
    sequential = ("scan", "cuda" if jax.default_backend() == "gpu" else "native")
    shapes = [(steps, size) for steps in STEPS for size in SIZES]
    rows = [newton.measure(*shape, sequential) for shape in tqdm(shapes, desc="shapes")]
    print(newton.format_rows(rows))
    print(newton.describe_crossover(rows))
