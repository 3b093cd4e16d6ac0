"""How long programs take on this device. Times are medians; programs that are compared take turns.

A turn launches as many calls as take a few milliseconds, without waiting, then waits for all.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import grujax
from experiments.benchmark.gpu.programs import (
    Call,
    Shape,
    compile_all,
    contestants,
    count_launches,
    count_transposes,
    draw,
    holds,
    make_function,
    run_gru,
)
from experiments.benchmark.many_models import vmap
from experiments.benchmark.peers import MODES
from experiments.benchmark.peers.cudnn import cudnn_calls
from experiments.common.report.timing import time_interleaved
from grujax import linen
from grujax.convert import to_linen

SECONDS = 0.5  # of timing per comparison, at least three turns of each program
MODELS = 8  # of the option "models"


def time_calls(calls: Mapping[str, Call], steps: int) -> dict[str, float]:
    """Microseconds per step of each call. The fastest of cuDNN's dtypes is "cuDNN"."""
    times = time_interleaved(calls, SECONDS, min_rounds=3, wait=_wait)
    micros = {name: 1e6 * float(np.median(seconds)) / steps for name, seconds in times.items()}
    cudnn = [time for name, time in micros.items() if name.startswith("cuDNN")]
    others = {name: time for name, time in micros.items() if not name.startswith("cuDNN")}
    return others | ({"cuDNN": min(cudnn)} if cudnn else {})


def time_shape(shape: Shape) -> dict[str, dict[str, float]]:
    """All that run here, by mode and name: the forward pass, and the training step."""
    arguments = draw(shape)
    functions = {
        (mode, name): make_function(partial(run_gru, implementation), mode)
        for mode in MODES
        for name, implementation in contestants(shape).items()
    }
    programs = compile_all(functions, *arguments)
    times = {}
    for mode in MODES:
        calls = {name: partial(programs[mode, name], *arguments) for name in contestants(shape)}
        calls |= cudnn_calls(shape.dtype, shape.steps, shape.batch, shape.units, mode)
        times[mode] = time_calls(calls, shape.steps)
    return times


def time_forward_mode(shape: Shape) -> dict[str, dict[str, float]]:
    """`jax.jvp` compared with the forward pass, by mode and name."""
    arguments = draw(shape)
    functions = {
        f"{mode}/{name}": make_function(partial(run_gru, implementation), mode)
        for mode in ("forward", "jvp")
        for name, implementation in contestants(shape).items()
    }
    programs = compile_all(functions, *arguments)
    calls = {name: partial(program, *arguments) for name, program in programs.items()}
    times: dict[str, dict[str, float]] = {"forward": {}, "jvp": {}}
    for key, micros in time_calls(calls, shape.steps).items():
        mode, name = key.split("/")
        times[mode][name] = micros
    return times


def time_options(shape: Shape) -> dict[str, dict[str, float]]:
    """The training step with options, several models, both directions, or batch-major arrays.

    Returns: by option, the time `microseconds` per step; and in the compiled program the number of
    `launches` of the kernel, and of `transposes` of whole sequences. By the kernel where it runs,
    else by the scan.
    """
    dtype, steps, batch, units = shape
    implementation = "cuda" if holds(dtype, units) else "scan"
    params, xs = draw(shape)
    before, _ = draw(shape, reset_after=False)
    rng = np.random.default_rng(0)
    options: dict[str, dict[str, Any]] = {
        "none": {},
        "lengths": {"lengths": rng.integers(0, steps + 1, batch)},
        "resets": {"resets": rng.random((steps, batch)) < 0.01},
        "reverse": {"reverse": True},
        "zoneout": {"zoneout": 0.1, "key": jax.random.key(0)},
        "recurrent dropout": {"recurrent_dropout": 0.1, "key": jax.random.key(0)},
    }
    run = partial(run_gru, implementation)
    functions = {
        name: make_function(partial(run, **chosen), "training") for name, chosen in options.items()
    }

    def run_both(params: Any, xs: Any) -> Any:
        pair = params, jax.tree.map(jnp.negative, params)
        return grujax.bidirectional_gru(pair, xs, implementation=implementation)[1]

    def run_models(params: Any, xs: Any) -> Any:
        factors = jnp.linspace(0.5, 1, MODELS, dtype=xs.dtype)
        stacked = jax.tree.map(lambda leaf: jnp.stack([leaf * f for f in factors]), params)
        return jax.vmap(run, (0, None))(stacked, xs)

    def run_layer(params: Any, xs: Any) -> Any:
        layer = linen.GRU(units, implementation=implementation)
        variables = {"params": {"cell": to_linen(params)["params"]}}
        return layer.apply(variables, xs)[1]

    functions["both directions"] = make_function(run_both, "training")
    functions["models"] = make_function(run_models, "training")
    programs = compile_all(functions, params, xs)
    calls = {name: partial(program, params, xs) for name, program in programs.items()}
    batch_major = jnp.asarray(xs.swapaxes(0, 1))
    others: dict[str, tuple[Callable[..., Any], Any, Any]] = {
        "batch-major": (run_layer, params, batch_major),
        "reset before": (run, before, xs),
    }
    for name, (function, *arguments) in others.items():
        programs |= compile_all({name: make_function(function, "training")}, *arguments)
        calls[name] = partial(programs[name], *arguments)
    return {
        name: {
            "microseconds": micros,
            "launches": count_launches(programs[name]),
            "transposes": count_transposes(programs[name], steps * batch * units),
        }
        for name, micros in time_calls(calls, steps).items()
    }


def time_models(population: vmap.Population) -> dict[str, float]:
    """Milliseconds of the gradients of all models under one `vmap`, and of one model alone."""
    shape = Shape("float32", population.steps, population.batch, population.units)
    runs = {}
    for name, implementation in contestants(shape).items():
        runs[name] = vmap.make_run(implementation, population)
        runs[f"{name}, one model"] = vmap.make_run(implementation, population._replace(models=1))
    times = time_interleaved(runs, SECONDS, min_rounds=3)
    return {name: 1e3 * float(np.median(seconds)) for name, seconds in times.items()}


def _wait(result: Any) -> None:
    if hasattr(result, "synchronize"):
        result.synchronize()
    else:
        jax.block_until_ready(result)
