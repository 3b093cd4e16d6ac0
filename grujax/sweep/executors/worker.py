"""What a worker does with a task.

A worker keeps the train functions that it has loaded, and with them the programs that it has
compiled: each group compiles once in each worker.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
import traceback
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grujax.sweep.contract import Train
from grujax.sweep.executors.tasks import Outcome, Packed, Task
from grujax.sweep.fingerprints import Origin, describe_function
from grujax.sweep.plan import Plan, first_devices, with_settings
from grujax.sweep.programs import Program, origin_of, program_for, run_chunk
from grujax.sweep.storage import Chunk

_KEPT = 4  # train functions, the last used ones

_IMPORTED_IN = os.getpid()
_lock = threading.Lock()  # the threads of one worker load and compile one after the other
_loaded: dict[str, Train] = {}  # by digest, the last used one at the end
_origins: dict[tuple, Origin] = {}
_is_new = True  # whether this process has not computed a task


class RefusalError(Exception):
    """This worker can compute no task of this sweep."""


def compute(task: Task) -> Outcome:
    """Runs the trials of a task. Errors are returned, as not every exception can be pickled."""
    outcome = Outcome((socket.gethostname(), os.getpid(), threading.get_ident()))
    start = time.perf_counter() - _starting_seconds()
    try:
        devices = _start_jax(task.devices)
        with with_settings(task.settings):
            program, origin = _prepare(task, devices)
            ready = time.perf_counter()
            chunk = _run(program, task)
        return outcome._replace(
            chunk=chunk,
            origin=origin,
            seconds=time.perf_counter() - ready,
            setup=ready - start,
        )
    except RefusalError as error:
        return outcome._replace(refusal=str(error))
    except Exception:
        return outcome._replace(failure=traceback.format_exc())


def _starting_seconds() -> float:
    """What the start of this process took, by its CPU time, before its first task; later 0."""
    global _is_new
    seconds = time.process_time() if _is_new else 0.0
    _is_new = False
    return seconds


def _start_jax(devices: int | None) -> tuple[jax.Device, ...]:
    """The devices of this worker. On a CPU, JAX makes as many as are needed when it starts."""
    if os.getpid() != _IMPORTED_IN:
        raise RefusalError(
            "its workers are forks of a process that had loaded JAX, whose threads a fork lacks. "
            "Let them start afresh, as in `ProcessPoolExecutor(2, "
            'mp_context=multiprocessing.get_context("spawn"))`'
        )
    if devices is None:
        return tuple(jax.local_devices())
    with suppress(RuntimeError):  # JAX has started in this process
        jax.config.update("jax_num_cpu_devices", devices)
    try:
        return tuple(first_devices(devices))
    except ValueError as error:
        raise RefusalError(f"in a worker, {str(error).rstrip('.')}") from error


def _prepare(task: Task, devices: tuple[jax.Device, ...]) -> tuple[Program, Origin | None]:
    """The compiled program of a task, and what it computes; both are kept."""
    plan = task.plan._replace(devices=devices)
    plan = plan._replace(trials=plan.slots)
    with _lock:
        train = _load(task.train)
        program = program_for(train, plan)
        origin = None if task.sweep is None else _origin(train, task, plan)
    return program, origin


def _load(packed: Packed) -> Train:
    train = _loaded.pop(packed.digest, None)
    if train is None:
        try:
            loaded = pickle.loads(packed.content)
        except Exception as error:  # modules raise what they like when they are imported
            raise RefusalError(
                f"a worker cannot load `train`: {type(error).__name__}: {error}"
            ) from error

        def train(key: Any, **hyperparameters: Any) -> Any:  # every function has a hash
            return loaded(key, **hyperparameters)

        train.__qualname__ = describe_function(loaded)
    _loaded[packed.digest] = train
    while len(_loaded) > _KEPT:
        forgotten = next(iter(_loaded))
        del _loaded[forgotten]
        for context in [context for context in _origins if context[0] == forgotten]:
            del _origins[context]
    return train


def _origin(train: Train, task: Task, plan: Plan) -> Origin:
    assert task.sweep is not None
    context = (task.train.digest, task.sweep, repr(plan.static), task.settings)
    if context not in _origins:
        _origins[context] = origin_of(train, plan, task.sweep)
    return _origins[context]


def _run(program: Program, task: Task) -> Chunk:
    """All trials of a task, at once or, if they do not fit into the memory, in several parts."""
    key = task.plan.key.wrap(jnp.asarray(task.key))
    most = program.capacity * len(program.devices)
    parts = []
    for first in range(0, len(task.indices), most):
        rows = slice(first, first + most)
        values = {name: array[rows] for name, array in task.values.items()}
        parts.append(run_chunk(program, key, values, task.indices[rows]).metrics)
    metrics = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Chunk(task.indices, metrics)
