"""Running the trials of a sweep in this process: one program per group, chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.jax_support.promotion import wide_dtype
from grujax.sweep.contract import Metrics, Train, check_same_metrics
from grujax.sweep.plan import Plan, Static
from grujax.sweep.programs import Program, program_for, run_chunk, shapes_of
from grujax.sweep.storage import Chunk, missing_trials
from grujax.sweep.trials import Groups, Trials

CHUNK_SECONDS = 10.0  # duration of the chunks that "map" chooses: a kill loses no more


class Work(NamedTuple):
    """The trials of a group that are still to run, with its plan."""

    plan: Plan
    indices: np.ndarray  # [n] int64, sorted


def find_work(
    train: Train, plan: Plan, groups: Groups, finished: list[Chunk], chunk: int | None
) -> list[Work]:
    """The trials that are in no finished chunk, by group.

    A program takes `plan.trials` trials, or if that is 0, `chunk` or as many as its group has.

    Raises:
        ValueError: `train` is not pure, or returns something other than metrics, or metrics that
            differ from one group to the next or from the finished ones in name, dtype or shape.
    """
    works = []
    for static, indices in groups:
        missing = missing_trials(indices, finished)
        most = plan.trials or (len(indices) if chunk is None else chunk)
        if len(missing):
            works.append(Work(plan._replace(trials=most, static=tuple(static.items())), missing))
    shapes = [shapes_of(train, work.plan) for work in works]
    for one in finished if shapes else ():
        _check_fit(one, shapes[0])
    for other in shapes[1:]:
        check_same_metrics(shapes[0], other)
    return works


def run_here(
    train: Train, key: Array, traced: Trials, works: list[Work], chunk: int | None
) -> Generator[tuple[Static, Chunk], None, None]:
    """Runs all trials; yields each chunk as it is finished, with the static values of its group."""
    for plan, indices in works:
        program = program_for(train, plan._replace(trials=plan.slots))
        for part in _run_group(program, key, traced, indices, chunk, plan.strategy):
            yield plan.static, part


def _run_group(
    program: Program,
    key: Array,
    traced: Trials,
    missing: np.ndarray,
    chunk: int | None,
    strategy: str,
) -> Iterator[Chunk]:
    """Runs trials with one program, chunk by chunk."""
    devices = len(program.devices)
    most = program.capacity * devices if chunk is None or strategy == "vmap" else chunk
    choose_size = chunk is None and strategy == "map"
    size = devices if choose_size else most  # the first trial on each device shows the speed
    while len(missing):
        indices, missing = missing[:size], missing[size:]
        values = {name: array[indices] for name, array in traced.items()}
        start = time.perf_counter()
        part = run_chunk(program, key, values, indices)
        seconds = time.perf_counter() - start
        yield part
        if choose_size:
            per_trial = seconds / -(-len(indices) // devices)
            rounds = int(min(CHUNK_SECONDS / max(per_trial, 1e-9), program.capacity))
            size = max(1, rounds) * devices


def _check_fit(chunk: Chunk, shapes: Metrics) -> None:
    """Raises ValueError unless a chunk of the directory has the metrics that `train` returns."""
    there: Any = {n: jax.ShapeDtypeStruct(a.shape[1:], a.dtype) for n, a in chunk.metrics.items()}
    if chunk.origin is None:  # earlier versions kept no floating metrics below 32 bits
        shapes = {name: _widened(shape) for name, shape in shapes.items()}
    check_same_metrics(there, shapes, ("in `directory`", "now"))


def _widened(shape: Any) -> Any:
    is_floating = jnp.issubdtype(shape.dtype, jnp.floating)
    dtype = wide_dtype(shape.dtype) if is_floating else shape.dtype
    return jax.ShapeDtypeStruct(shape.shape, dtype)
