"""What one gradient costs: memory by the length of the window, and processor time."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common.report.timing import time_interleaved
from experiments.flip_flop import BITS
from experiments.online_learning.methods import Method, Network, make_method
from experiments.online_learning.settings import MethodName, Settings
from experiments.online_learning.tasks import Window, make_task
from experiments.online_learning.training import make_bench


class Costs(NamedTuple):
    """The costs of each method for windows of the flip-flop."""

    memory: dict[MethodName, dict[int, int]]  # bytes by T, beside the inputs and the parameters
    seconds: dict[MethodName, np.ndarray]  # [rounds], of one core, for the shortest window


def measure_costs(settings: Settings) -> Costs:
    """Compiles each method's gradient for each length, and runs that of the shortest in turn.

    A window begins with states of zero, so that BPTT goes through this window alone. What a method
    carries is part of its memory.
    """
    task = make_task("flip_flop", settings)._replace(history=0)
    network = make_bench(settings, task).init(jax.random.key(0))
    memory: dict[MethodName, dict[int, int]] = {}
    runs = {}
    for name in settings.methods:
        method, memory[name] = make_method(name, task), {}
        for steps in settings.lengths:
            arguments = (network, _blank(settings.batch_size, steps), jax.random.key(0))
            compiled = _jit(method, settings.batch_size).lower(*arguments).compile()
            memory[name][steps] = compiled.memory_analysis().temp_size_in_bytes
            if steps == min(settings.lengths):
                runs[name] = lambda run=compiled, arguments=arguments: run(*arguments)
    seconds = time_interleaved(
        runs,
        settings.timing_seconds,
        turn_seconds=0.02,
        wait=jax.block_until_ready,
        clock=time.process_time,
    )
    return Costs(memory, dict(zip(settings.methods, seconds.values(), strict=True)))


def _blank(rows: int, steps: int) -> Window:
    """A window of the flip-flop without pulses."""
    pulses = jnp.zeros((steps, rows, BITS))
    return Window(pulses, pulses, jnp.ones((steps, rows)))


def _jit(method: Method, rows: int) -> Any:
    @jax.jit
    def gradient(network: Network, window: Window, key: Array) -> Network:
        return method.gradient(network, method.init(network, rows, key), window)[1]

    return gradient
