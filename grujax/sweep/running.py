"""Running a sweep: trials, chunks, devices."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from grujax.sweep.contract import Train, check_same_metrics
from grujax.sweep.plan import Plan, choose_devices, key_type
from grujax.sweep.programs import Program, program_for, run_chunk
from grujax.sweep.progress import progress_bar, report_interruption
from grujax.sweep.result import SweepResult, assemble
from grujax.sweep.storage import (
    Chunk,
    claim,
    describe_sweep,
    missing_trials,
    read_chunks,
    write_chunk,
    write_trials,
)
from grujax.sweep.trials import (
    Groups,
    Trials,
    check_trials,
    choose_process,
    count_trials,
    group_by,
    share_groups,
)

CHUNK_SECONDS = 10.0  # duration of the chunks that "map" chooses: a kill loses no more


def run(
    train: Train,
    trials: Mapping[str, Any],
    *,
    key: Array,
    strategy: str | None = None,
    devices: Sequence[jax.Device] | None = None,
    chunk: int | None = None,
    directory: str | Path | None = None,
    progress: bool = True,
    static: Sequence[str] = (),
    processes: int | None = None,
    process: int | None = None,
) -> SweepResult:
    """Runs every trial of a sweep, and gives each the result that it would have alone.

    Trial i computes `train(trial_key(key, i), **{name: values[i]})`, whatever strategy, devices and
    chunks are chosen.

    Args:
        train: `train(key, **hyperparameters) -> metrics`, a pure JAX function; metrics is a dict of
            arrays, scalars `[]` to compare trials by and curves `[n]` to look at. Hyperparameters
            are traced scalars, except those in `static`.
        trials: for each hyperparameter an array `[n]`, as `grid` and `sample` make them.
        key: a JAX random key, from which the key of each trial is derived.
        strategy: how a device runs its trials: one after the other ("map") or side by side
            ("vmap"). None chooses "map" on CPUs, where XLA runs batched matmuls slower than single
            ones, and "vmap" elsewhere. Trials are always spread over the devices first.
        devices: the devices to use; by default all that this process has. For one per CPU core, run
            `jax.config.update("jax_num_cpu_devices", n)` before JAX is first used.
        chunk: how many trials run between two visits to Python, on all devices together; rounded up
            to a multiple of their number for "vmap". None measures: at most half the available
            memory, divided by what one trial takes by XLA's memory analysis; "map" also takes no
            more trials than run in about ten seconds.
        directory: where each finished chunk is written. The same call resumes there after the
            process was stopped or killed; with all trials done it only reads.
        progress: show a progress bar (needs tqdm).
        static: the hyperparameters that set shapes, or that Python branches on. They reach `train`
            as Python values; trials are grouped, with one compilation per distinct combination.
        processes: how many processes share the trials, all with the same `directory`; by default
            `jax.process_count()`.
        process: the number of this one, from 0; by default `jax.process_index()`.

    Returns:
        A `SweepResult`; of several processes each returns its own share, and `SweepResult.load`
        reads all. A trial with NaN in a metric is flagged as diverged, and does not stop others.

    Raises:
        ValueError: for hyperparameters of unequal length, or that cannot be traced; an unknown
            strategy; a `train` that is not pure or returns something other than arrays; metrics
            that differ between groups in name, dtype or shape (floating curves may differ in
            length); a `directory` that belongs to another sweep; or several processes without one,
            or with fewer trials than processes.
        KeyboardInterrupt: after Ctrl-C, with a line that says what is saved.

    Example:
        >>> def train(key, learning_rate):  # gradient descent on (w − 1)², from w = 0
        ...     w, losses = jax.lax.scan(
        ...         lambda w, _: (w - learning_rate * 2 * (w - 1), (w - 1) ** 2), 0.0, length=5
        ...     )
        ...     return {"loss": (w - 1) ** 2, "losses": losses}
        >>> from grujax.sweep import grid
        >>> trials = grid(learning_rate=[0.01, 0.1, 0.5])
        >>> result = run(train, trials, key=jax.random.key(0), progress=False)
        >>> result.best("loss").hyperparameters
        {'learning_rate': 0.5}
        >>> result.metrics["losses"].shape
        (3, 5)
    """
    if not callable(train):
        raise ValueError(f"`train` must be a function, got {type(train).__name__}.")
    static = tuple(static)
    trials = check_trials(trials, static)
    kind = key_type(key)
    devices, strategy = choose_devices(devices, strategy)
    if chunk is not None and chunk < 1:
        raise ValueError(f"`chunk` must be at least 1, got {chunk}.")
    folder = None if directory is None else Path(directory)
    process, processes = choose_process(process, processes, count_trials(trials), folder)
    groups = share_groups(group_by(trials, static), process, processes)
    selected = np.sort(np.concatenate([indices for _, indices in groups]))
    chunks: list[Chunk] = []
    if folder is not None:
        name = getattr(train, "__qualname__", type(train).__name__)
        about = describe_sweep({"train": name, "static": sorted(static)}, trials, key)
        claim(folder, about, alone=processes == 1)
        write_trials(folder, trials)
        chunks = read_chunks(folder)
    traced = {name: array for name, array in trials.items() if name not in static}
    dtypes = {name: jax.dtypes.canonicalize_dtype(array.dtype) for name, array in traced.items()}
    plan = Plan(
        trials=0,  # of each group, below
        traced=tuple((name, dtype.name) for name, dtype in dtypes.items()),
        key=kind,
        strategy=strategy,
        devices=devices,
        fit_memory=chunk is None,
    )
    total, done = len(selected), len(selected) - len(missing_trials(selected, chunks))
    with progress_bar(progress, total, done, "trial") as bar:
        try:
            for part in _run_groups(train, plan, key, traced, groups, list(chunks), chunk):
                if folder is not None:
                    write_chunk(folder, part)
                chunks.append(part)
                done += len(part.indices)
                if bar is not None:
                    bar.update(len(part.indices))
        except KeyboardInterrupt:
            report_interruption(done, total, "trial", folder)
            raise
    return assemble(trials, chunks, selected)


def _run_groups(
    train: Train,
    plan: Plan,
    key: Array,
    traced: Trials,
    groups: Groups,
    finished: list[Chunk],
    chunk: int | None,
) -> Iterator[Chunk]:
    """Runs the trials that are in no finished chunk, with one program per group."""
    shapes = None
    for static, indices in groups:
        missing = missing_trials(indices, finished)
        if not len(missing):
            continue
        most = len(indices) if chunk is None else chunk
        group = plan._replace(trials=most, static=tuple(static.items()))
        program = program_for(train, group._replace(trials=group.slots))
        check_same_metrics(shapes or program.shapes, program.shapes)
        shapes = program.shapes
        yield from _run_group(program, key, traced, missing, chunk, plan.strategy)


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
        start = time.perf_counter()
        part = run_chunk(program, key, traced, missing[:size])
        seconds = time.perf_counter() - start
        yield part
        missing = missing[len(part.indices) :]
        if choose_size:
            per_trial = seconds / -(-len(part.indices) // devices)
            rounds = int(min(CHUNK_SECONDS / max(per_trial, 1e-9), program.capacity))
            size = max(1, rounds) * devices
