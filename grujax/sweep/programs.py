"""The compiled programs that run a chunk of trials: on every device, one by one or side by side.

A chunk lies over a mesh with one axis, `trials`; each device runs its own share, and none waits for
another before the chunk ends. With "map" a device runs its trials one after the other, as many as
it is told, so that one program serves every chunk up to its capacity. With "vmap" it runs them side
by side, always as many as it was compiled for.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, PartitionSpec

from grujax.sweep.purity import Metrics, Train, check_pure, with_checked_metrics
from grujax.sweep.storage import Chunk
from grujax.sweep.trials import Trials

_FALLBACK_BYTES = 2**32  # where the system does not say how much memory is free


class Program(NamedTuple):
    """What runs a chunk of trials."""

    capacity: int  # trials a device takes at most
    run: Callable[..., Metrics]  # (key data, indices, values, counts) -> metrics
    devices: tuple[jax.Device, ...]
    shapes: Metrics  # of one trial


class Plan(NamedTuple):
    """How the trials of one group are to run: all that a program depends on besides `train`."""

    fixed: tuple[tuple[str, Any], ...]  # static hyperparameters
    traced: tuple[tuple[str, str], ...]  # the others, and their dtypes
    key: tuple[tuple[int, ...], str, str | None]  # shape and dtype of its data, implementation
    strategy: str
    devices: tuple[jax.Device, ...]
    most: int  # trials a device has in the group, or may have in a chunk
    measure: bool  # whether fewer may fit


# A program lives as long as its train function does, and holds no reference to it.
_PROGRAMS: weakref.WeakKeyDictionary[Train, dict[tuple, Program]] = weakref.WeakKeyDictionary()


def program_for(train: Train, plan: Plan) -> Program:
    """The compiled program; from the cache if there is one."""
    try:
        programs = _PROGRAMS.setdefault(train, {})
    except TypeError:  # a callable object without a hash, or that cannot be referred to weakly
        programs = {}
    context = (plan, *precision())
    if context not in programs:
        programs[context] = _compile(train, plan)
    return programs[context]


def trial_key(key: Array, index: Any) -> Array:
    """The key of trial `index`: `jax.random.fold_in(key, index)`."""
    return jax.random.fold_in(key, index)


def run_chunk(program: Program, key: Array, trials: Trials, indices: np.ndarray) -> Chunk:
    """Runs trials, as many as the devices take together or fewer."""
    devices = len(program.devices)
    shares = np.array_split(indices, devices)
    # Empty places repeat a trial; "map" does not run them, and nobody reads their metrics.
    slots = np.full((devices, program.capacity), indices[0], np.int32)
    for row, share in zip(slots, shares, strict=True):
        row[: len(share)] = share
    counts = np.array([len(share) for share in shares], np.int32)
    values = {name: array[slots.ravel()] for name, array in trials.items()}
    outputs = program.run(key_data(key), slots.ravel(), values, counts)
    taken = np.concatenate(
        [row * program.capacity + np.arange(count) for row, count in enumerate(counts)]
    )
    return Chunk(indices, {name: np.asarray(array)[taken] for name, array in outputs.items()})


def describe_key(key: Array) -> tuple[tuple[int, ...], str, str | None]:
    """See `Plan.key`. Raises ValueError unless it is one JAX random key."""
    data = key_data(key)
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    if data.ndim != 1 or data.dtype != np.uint32:
        raise ValueError(f"`key` must be one JAX random key, got shape {list(key.shape)}.")
    return data.shape, data.dtype.name, str(jax.random.key_impl(key)) if typed else None


def choose_strategy(strategy: str | None, devices: tuple[jax.Device, ...]) -> str:
    """See `run`. Raises ValueError for an unknown strategy, or no devices."""
    if not devices:
        raise ValueError("`devices` must name at least one device.")
    if strategy is None:
        return "map" if devices[0].platform == "cpu" else "vmap"
    if strategy not in ("map", "vmap"):
        raise ValueError(f'`strategy` must be None, "map" or "vmap", got {strategy!r}.')
    return strategy


def precision() -> tuple[Any, ...]:
    """What a compiled program depends on besides functions and plan: JAX's own settings."""
    matmul = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return jax.dtypes.canonicalize_dtype(np.float64), matmul


def key_data(key: Array) -> np.ndarray:
    """A random key, of either kind, as the numbers it is made of."""
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if typed else key)


def as_key(data: Array, implementation: str | None) -> Array:
    """The inverse of `key_data`, given the implementation as `describe_key` does."""
    return data if implementation is None else jax.random.wrap_key_data(data, impl=implementation)


def _compile(train: Train, plan: Plan) -> Program:
    call = with_checked_metrics(train, dict(plan.fixed))
    shape, dtype, implementation = plan.key
    data = jax.ShapeDtypeStruct(shape, dtype)
    values = {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in plan.traced}

    def trial(data: Array, index: Array, values: dict[str, Array]) -> Metrics:
        key = (
            data if implementation is None else jax.random.wrap_key_data(data, impl=implementation)
        )
        return call(trial_key(key, index), values)

    index = jax.ShapeDtypeStruct((), jnp.int32)
    shapes = check_pure(
        lambda index, values: trial(jnp.zeros(shape, dtype), index, values),
        index,
        values,
        name="train",
        advice="`run` traces the hyperparameters of `train`: those that set shapes, or that Python "
        "itself branches on, belong in `static`.",
    )
    capacity = plan.most
    if plan.measure:
        capacity = min(capacity, _fitting(plan, trial, (data, index, values), shapes))
    devices = len(plan.devices)
    rows = partial(_with_axis, devices * capacity)
    across = _ACROSS[plan.strategy](trial, shapes, capacity)
    own = PartitionSpec("trials")
    mapped = jax.shard_map(
        across,
        mesh=Mesh(np.array(plan.devices), ("trials",)),
        in_specs=(PartitionSpec(), own, own, own),
        out_specs=own,
        check_vma=False,  # or scans whose carry begins as a constant would be refused
    )
    counts = jax.ShapeDtypeStruct((devices,), jnp.int32)
    compiled = jax.jit(mapped).lower(data, rows(index), rows(values), counts).compile()
    return Program(capacity, compiled, plan.devices, shapes)


def _one_by_one(trial: Callable, shapes: Metrics, capacity: int) -> Callable:
    def run(data: Array, indices: Array, values: dict[str, Array], counts: Array) -> Metrics:
        def body(slot: Array, outputs: Metrics) -> Metrics:
            metrics = trial(data, indices[slot], {k: v[slot] for k, v in values.items()})
            return {name: outputs[name].at[slot].set(metrics[name]) for name in outputs}

        empty = {n: jnp.zeros((capacity, *s.shape), s.dtype) for n, s in shapes.items()}
        return lax.fori_loop(0, counts[0], body, empty)

    return run


def _side_by_side(trial: Callable, shapes: Metrics, capacity: int) -> Callable:
    def run(data: Array, indices: Array, values: dict[str, Array], counts: Array) -> Metrics:
        return jax.vmap(trial, in_axes=(None, 0, 0))(data, indices, values)

    return run


_ACROSS = {"map": _one_by_one, "vmap": _side_by_side}


def _with_axis(size: int, tree: Any) -> Any:
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct((size, *s.shape), s.dtype), tree)


def _fitting(plan: Plan, trial: Callable, arguments: tuple, shapes: Metrics) -> int:
    """How many trials a device has memory for: at least one, whatever the measurement says.

    Half of what is available now, divided by what one trial takes. "vmap" keeps the temporaries of
    all trials at a time, as XLA's memory analysis of one compiled trial gives them; "map" only
    their metrics.
    """
    each = sum(s.size * s.dtype.itemsize for s in shapes.values())
    if plan.strategy == "vmap":
        sharding = jax.sharding.SingleDeviceSharding(plan.devices[0])
        alone = jax.jit(trial, out_shardings=sharding).lower(*arguments).compile()
        memory = alone.memory_analysis()
        each += 0 if memory is None else memory.temp_size_in_bytes
    return max(1, _available_bytes(plan.devices) // 2 // max(each, 1))


def _available_bytes(devices: Sequence[jax.Device]) -> int:
    """The memory that one of the devices can have: its own, or its part of the host's."""
    statistics = devices[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        free = _FALLBACK_BYTES
    return free // len(devices)
