"""Times the two slowest analyses, compiled, at sizes that are common in research.

    python -m experiments.analysis_benchmark       a minute on 2 CPU cores

The analyses are Lyapunov exponents of a driven GRU, and fixed points of GRUs whose recurrent
weights have a gain of 1 to 3. The larger the gain, the more chaotic the network, and the longer the
search. The times include compilation.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from experiments.common.report import format_table
from grujax import GRUParams, analysis, init_gru

STEPS, EXPONENTS = 10_000, 10
STARTS, HIDDEN = 1024, 128


def chaotic_gru(gain: float) -> GRUParams:
    """A GRU with HIDDEN units, recurrent weights of deviation gain / √H, and random biases."""
    normal = jax.nn.initializers.normal
    return init_gru(
        jax.random.key(0),
        3,
        HIDDEN,
        recurrent_kernel_init=normal(gain / HIDDEN**0.5),
        bias_init=normal(0.3),
    )


def compute_exponents(qr_interval: int) -> Array:
    """The largest exponents `[EXPONENTS]` of a random GRU with 256 units, driven by noise."""
    xs = jax.random.normal(jax.random.key(1), (STEPS, 16))
    params = init_gru(jax.random.key(0), 16, 256)

    @jax.jit
    def run(params: GRUParams, xs: Array) -> Array:
        return analysis.lyapunov_exponents(
            params, xs, num_exponents=EXPONENTS, warmup=STEPS // 20, qr_interval=qr_interval
        )

    return run(params, xs)


def find_fixed_points(gain: float) -> analysis.FixedPoints:
    """The fixed points found from STARTS initial states drawn uniformly from [−1, 1]^H."""
    starts = jax.random.uniform(jax.random.key(1), (STARTS, HIDDEN), minval=-1)
    return jax.jit(analysis.find_fixed_points)(chaotic_gru(gain), jnp.zeros(3), starts)


def time_call(run: Callable[..., Any], argument: Any) -> tuple[Any, str]:
    """Returns the result of `run(argument)` and its time, such as "1.2 s"."""
    start = time.perf_counter()
    result = jax.block_until_ready(run(argument))
    return result, f"{time.perf_counter() - start:.1f} s"


def main() -> None:
    """Measures all rows and prints a table."""
    rows = []
    for qr_interval in (1, 4):
        result, seconds = time_call(compute_exponents, qr_interval)
        name = f"{EXPONENTS} exponents, H = 256, T = {STEPS}, QR every {qr_interval}"
        rows.append([name, seconds, f"λ₁ = {result[0]:.4f}"])
    for gain in (1.0, 2.0, 3.0):
        found, seconds = time_call(find_fixed_points, gain)
        kinds = [analysis.Stability(kind).name.lower() for kind in found.stability.tolist()]
        counts = [f"{kinds.count(kind)} {kind}" for kind in ("stable", "saddle", "slow")]
        name = f"fixed points, H = {HIDDEN}, {STARTS} starts, gain {gain:g}"
        rows.append([name, seconds, ", ".join(counts)])
    print(format_table(["", "time", "result"], rows))
