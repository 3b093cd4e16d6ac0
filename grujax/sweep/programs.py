"""The compiled program that runs a chunk of trials.

With "map" a device runs its trials one after the other, as many as it is told, so that one program
serves every chunk up to its capacity. With "vmap" it runs them side by side, always as many as it
was compiled for.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from grujax.jax_support import lapack
from grujax.sweep.contract import Metrics, Train, check_metrics, check_pure
from grujax.sweep.fingerprints import Origin, fingerprint, versions
from grujax.sweep.plan import Plan, add_axis, jax_settings, key_data, trial_key
from grujax.sweep.storage import Chunk
from grujax.sweep.trials import Trials

_log = logging.getLogger("grujax")

Rows = tuple[Array, dict[str, Array], Array]  # indices and values [slots], trials per device

ADVICE = (
    "`run` traces the hyperparameters of `train`: those that set shapes, or that Python itself "
    "branches on, belong in `static`."
)
_DEADLOCK = "LAPACK calls on batches of matrices can deadlock on a CPU with jaxlib 0.10.0 to 0.11.0"
_REPLACED = f'strategy="map" takes the place of "vmap", since {_DEADLOCK}.'
_MAY_DEADLOCK = (
    f"{_DEADLOCK}, and the functions of this sweep make some. For these matrices, `jax.lax.map` "
    "instead of `jax.vmap` is safe."
)
_FALLBACK_BYTES = 2**32  # where the system does not say how much memory is free


class Program(NamedTuple):
    """A compiled program, and what it runs."""

    capacity: int  # trials per device at most
    run: Callable[[np.ndarray, Any], Metrics]  # (key data, rows) -> metrics [slots, ...]
    devices: tuple[jax.Device, ...]


# What is known of a train function lives as long as it does, and holds no reference to it.
_PROGRAMS: weakref.WeakKeyDictionary[Train, dict[tuple, Any]] = weakref.WeakKeyDictionary()


def program_for(train: Train, plan: Plan) -> Program:
    """The compiled program, from the cache if it is there."""
    return _cached(train, plan, lambda: _compile(train, plan))


def shapes_of(train: Train, plan: Plan) -> Metrics:
    """The shapes and dtypes of the metrics of one trial, for the static values of a plan.

    Raises:
        ValueError: `train` is not pure, or returns something other than metrics.
    """
    plan = plan._replace(trials=0, devices=(), strategy="")  # it does not depend on these
    return _cached(train, plan, lambda: _trace(train, plan))


def origin_of(train: Train, plan: Plan, sweep: str) -> Origin:
    """What computes the trials of a sweep that have the static values of a plan."""
    found = fingerprint(train, _trial_of(train, plan), *_arguments(plan))
    return Origin(sweep, {"train": found}, versions())


def run_chunk(program: Program, key: Array, values: Trials, indices: np.ndarray) -> Chunk:
    """Runs trials with these indices and values `[n]`, as many as all devices take at most."""
    devices = len(program.devices)
    shares = np.array_split(np.arange(len(indices)), devices)
    # Empty slots repeat a trial; "map" does not run them, and nobody reads their metrics.
    slots = np.zeros((devices, program.capacity), np.int64)
    for row, share in zip(slots, shares, strict=True):
        row[: len(share)] = share
    counts = np.array([len(share) for share in shares], np.int32)
    order = slots.ravel()
    rows = (indices[order].astype(np.int32), {n: a[order] for n, a in values.items()}, counts)
    outputs = program.run(key_data(key), rows)
    is_used = (np.arange(program.capacity) < counts[:, None]).ravel()
    return Chunk(indices, {name: np.asarray(array)[is_used] for name, array in outputs.items()})


def _cached(train: Train, plan: Plan, make: Callable[[], Any]) -> Any:
    try:
        known = _PROGRAMS.setdefault(train, {})
    except TypeError:  # a callable object without a hash, or without weak references
        known = {}
    context = (plan, repr(plan.static), jax_settings())  # 1, 1.0 and True are equal, as are ±0.0
    if context not in known:
        known[context] = make()
    return known[context]


def _trial_of(train: Train, plan: Plan) -> Callable[[Array, Array, dict[str, Array]], Metrics]:
    """One trial: (data of the key, index, traced values) -> metrics."""
    static = dict(plan.static)

    def trial(data: Array, index: Array, values: dict[str, Array]) -> Metrics:
        metrics = train(trial_key(plan.key.wrap(data), index), **values, **static)
        return check_metrics(metrics, "train")

    return trial


def _arguments(plan: Plan) -> tuple[Any, Any, Any]:
    """Shapes and dtypes of what `_trial_of` returns a function of."""
    return plan.key.struct, jax.ShapeDtypeStruct((), jnp.int32), plan.values


def _trace(train: Train, plan: Plan) -> Metrics:
    trial = _trial_of(train, plan)
    zeros = jnp.zeros(plan.key.shape, plan.key.dtype)
    _, *arguments = _arguments(plan)
    return check_pure(
        lambda index, values: trial(zeros, index, values), *arguments, name="train", advice=ADVICE
    )


def _compile(train: Train, plan: Plan) -> Program:
    shapes = shapes_of(train, plan)
    trial, arguments = _trial_of(train, plan), _arguments(plan)
    if plan.fit_memory:
        capacity = min(plan.capacity, _fitting(plan, trial, arguments, shapes))
        plan = plan._replace(trials=capacity * len(plan.devices))
    data, index, values = arguments
    counts = jax.ShapeDtypeStruct((len(plan.devices),), jnp.int32)
    rows = (*add_axis(plan.slots, (index, values)), counts)

    def lower(plan: Plan) -> jax.stages.Lowered:
        share = _one_by_one(trial, shapes) if plan.strategy == "map" else _side_by_side(trial)
        return jax.jit(plan.spread(share)).lower(data, rows)

    return Program(plan.capacity, compile_plan(plan, lower), plan.devices)


def compile_plan(plan: Plan, lower: Callable[[Plan], jax.stages.Lowered]) -> jax.stages.Compiled:
    """The compiled program of a plan, as "map" where "vmap" could deadlock.

    A deadlock needs LAPACK calls on batches, a CPU, and one of some versions of jaxlib: see
    `grujax.jax_support.lapack`. Whatever runs by "map" takes one matrix at a time, unless the
    user's own functions have a batch of them.
    """
    lowered = lower(plan)
    if not lapack.DEADLOCKS or plan.devices[0].platform != "cpu":
        return lowered.compile()
    if plan.strategy == "vmap" and lapack.runs_on_batches(lowered):
        _log.warning(_REPLACED)
        lowered = lower(plan._replace(strategy="map"))
    if lapack.runs_on_batches(lowered):
        _log.warning(_MAY_DEADLOCK)
    return lowered.compile()


def _one_by_one(trial: Callable, shapes: Metrics) -> Callable:
    def run(data: Array, rows: Rows) -> Metrics:
        indices, values, counts = rows

        def body(slot: Array, outputs: Metrics) -> Metrics:
            metrics = trial(data, indices[slot], {k: v[slot] for k, v in values.items()})
            return {name: outputs[name].at[slot].set(metrics[name]) for name in outputs}

        empty = {n: jnp.zeros((len(indices), *s.shape), s.dtype) for n, s in shapes.items()}
        return lax.fori_loop(0, counts[0], body, empty)

    return run


def _side_by_side(trial: Callable) -> Callable:
    def run(data: Array, rows: Rows) -> Metrics:
        indices, values, _ = rows
        return jax.vmap(trial, in_axes=(None, 0, 0))(data, indices, values)

    return run


def _fitting(plan: Plan, trial: Callable, arguments: tuple, shapes: Metrics) -> int:
    """How many trials fit into the memory of a device, at least one.

    Half of the memory available now is divided by what one trial takes. "vmap" keeps the temporary
    arrays of all trials at the same time, as XLA's memory analysis of one compiled trial reports
    them; "map" only keeps their metrics.
    """
    each = sum(s.size * s.dtype.itemsize for s in shapes.values())
    if plan.strategy == "vmap":
        sharding = jax.sharding.SingleDeviceSharding(plan.devices[0])
        alone = jax.jit(trial, out_shardings=sharding).lower(*arguments).compile()
        memory = alone.memory_analysis()
        each += 0 if memory is None else memory.temp_size_in_bytes
    return max(1, _available_bytes(plan.devices) // 2 // max(each, 1))


def _available_bytes(devices: Sequence[jax.Device]) -> int:
    """The memory available to one of the devices: its own, or its part of the host's."""
    statistics = devices[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        free = _FALLBACK_BYTES
    return free // len(devices)
