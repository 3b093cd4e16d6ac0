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

from experiments.analysis_benchmark.settings import Command
from experiments.common.outputs import write_results
from experiments.common.report import format_table
from grujax import GRUParams, analysis, init_gru


def chaotic_gru(gain: float, hidden_size: int) -> GRUParams:
    """A GRU with H units, recurrent weights of deviation gain / √H, and random biases."""
    normal = jax.nn.initializers.normal
    return init_gru(
        jax.random.key(0),
        3,
        hidden_size,
        recurrent_kernel_init=normal(gain / hidden_size**0.5),
        bias_init=normal(0.3),
    )


def compute_exponents(command: Command, qr_interval: int) -> Array:
    """The largest exponents `[E]` of a random GRU with 256 units, driven by noise."""
    xs = jax.random.normal(jax.random.key(1), (command.steps, 16))
    params = init_gru(jax.random.key(0), 16, 256)

    @jax.jit
    def run(params: GRUParams, xs: Array) -> Array:
        return analysis.lyapunov_exponents(
            params,
            xs,
            num_exponents=command.exponents,
            warmup=command.steps // 20,
            qr_interval=qr_interval,
        )

    return run(params, xs)


def find_fixed_points(command: Command, gain: float) -> analysis.FixedPoints:
    """The fixed points found from initial states drawn uniformly from [−1, 1]^H."""
    size = command.starts, command.hidden_size
    starts = jax.random.uniform(jax.random.key(1), size, minval=-1)
    gru = chaotic_gru(gain, command.hidden_size)
    return jax.jit(analysis.find_fixed_points)(gru, jnp.zeros(3), starts)


def time_call(run: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Returns the result of `run(*arguments)` and its time in seconds."""
    start = time.perf_counter()
    result = jax.block_until_ready(run(*arguments))
    return result, time.perf_counter() - start


def main(command: Command) -> None:
    """Measures all rows, prints a table, and writes results.json."""
    rows, results = [], []
    for qr_interval in (1, 4):
        found, seconds = time_call(compute_exponents, command, qr_interval)
        name = (
            f"{command.exponents} exponents, H = 256, T = {command.steps}, QR every {qr_interval}"
        )
        rows.append([name, f"{seconds:.1f} s", f"λ₁ = {found[0]:.4f}"])
        results.append({"QR every": qr_interval, "exponents": found.tolist(), "seconds": seconds})
    for gain in (1.0, 2.0, 3.0):
        found, seconds = time_call(find_fixed_points, command, gain)
        kinds = [analysis.Stability(kind).name.lower() for kind in found.stability.tolist()]
        counts = {kind: kinds.count(kind) for kind in ("stable", "saddle", "slow")}
        name = f"fixed points, H = {command.hidden_size}, {command.starts} starts, gain {gain:g}"
        rows.append(
            [name, f"{seconds:.1f} s", ", ".join(f"{n} {kind}" for kind, n in counts.items())]
        )
        results.append({"gain": gain, "fixed points": counts, "seconds": seconds})
    print(format_table(["", "time", "result"], rows))
    write_results(command.out / "results.json", results)
