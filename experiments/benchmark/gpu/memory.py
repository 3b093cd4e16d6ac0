"""How much memory the implementations take: by XLA's analysis, and the peak on the device."""

from functools import partial
from typing import Any

import jax

from experiments.benchmark.gpu.programs import (
    Shape,
    compile_all,
    draw,
    holds,
    make_function,
    run_gru,
)
from experiments.benchmark.peers import MODES


def measure_memory(shape: Shape) -> dict[str, dict[str, Any]]:
    """In numbers of the dtype, for each step, row and unit, that is, in units of T·B·H.

    Returns: by "IMPLEMENTATION/MODE", XLA's `temporaries`, without arguments and results; and the
    `peak` of the device with arguments and results. A process has one peak for all its time: where
    a program stays below an earlier one, its peak is None, as on a device without such statistics.
    """
    arguments = draw(shape)
    names = ["cuda"] if holds(shape.dtype, shape.units) else []
    functions = {
        f"{name}/{mode}": make_function(partial(run_gru, name), mode)
        for name in [*names, "scan", "plain", "newton"]
        for mode in MODES
    }
    programs = compile_all(functions, *arguments)
    temporaries = {
        name: program.memory_analysis().temp_size_in_bytes for name, program in programs.items()
    }
    size = arguments[1].nbytes
    found = {}
    for name in sorted(
        programs, key=temporaries.__getitem__
    ):  # the peak rises from one to the next
        peak = _peak_of(partial(programs[name], *arguments))
        found[name] = {
            "temporaries": temporaries[name] / size,
            "peak": None if peak is None else (peak + size) / size,
        }
    return found


def _peak_of(call: Any) -> int | None:
    """By how many bytes a call raises the memory in use, for a while; None if it is not known."""
    device = jax.local_devices()[0]
    before = device.memory_stats()
    jax.block_until_ready(call())
    after = device.memory_stats()
    if not before or not after or after["peak_bytes_in_use"] <= before["peak_bytes_in_use"]:
        return None
    return int(after["peak_bytes_in_use"] - before["bytes_in_use"])
