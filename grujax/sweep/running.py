"""Running a sweep: which trials, in which chunks, on which devices."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from grujax.sweep.programs import (
    Plan,
    Program,
    choose_strategy,
    describe_key,
    program_for,
    run_chunk,
    trial_key,
)
from grujax.sweep.progress import progress_bar, say_what_is_kept
from grujax.sweep.purity import Train
from grujax.sweep.result import SweepResult, assemble
from grujax.sweep.storage import (
    Chunk,
    claim,
    describe_sweep,
    read_chunks,
    write_chunk,
    write_trials,
)
from grujax.sweep.trials import Trials, check_trials, group_by

__all__ = ["run", "trial_key"]

Groups = list[tuple[dict[str, Any], np.ndarray]]  # static values, and the trials that have them

CHUNK_SECONDS = 10.0  # of a chunk that "map" chooses: what a kill loses at most


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
    """Runs every trial of a sweep, and gives each the result it would have alone.

    Trial i computes `train(trial_key(key, i), **{name: values[i]})`, whatever strategy, devices and
    chunks are chosen.

    Args:
        train: `train(key, **hyperparameters) -> metrics`, a pure JAX function; metrics is a dict of
            arrays, scalars `[]` to compare trials by and curves `[n]` to look at. Hyperparameters
            are traced scalars, except those in `static`.
        trials: for each hyperparameter an array `[n]`, as `grid` and `sample` make them.
        key: a JAX random key, from which each trial gets its own.
        strategy: how a device runs its trials: one after the other ("map") or side by side
            ("vmap"). None chooses "map" on CPUs, where XLA runs batched matmuls slower than single
            ones, and "vmap" elsewhere. Trials are always spread over the devices first.
        devices: those to use; all that this process has by default. To have one for each CPU core:
            `jax.config.update("jax_num_cpu_devices", n)` before JAX is first used.
        chunk: how many trials run between two visits to Python, on all devices together; rounded up
            to a multiple of their number for "vmap". None measures: at most half the available
            memory, divided by what one trial takes by XLA's memory analysis; "map" besides takes
            as many trials as run in about ten seconds.
        directory: where each finished chunk is written. The same call goes on there after the
            process was stopped or killed; with all trials done it only reads.
        progress: show a progress bar (needs tqdm).
        static: the hyperparameters that set shapes, or that Python branches on. They reach `train`
            as Python values; trials are grouped, with one compilation per distinct combination.

    Returns:
        A `SweepResult`. A trial with NaN in a metric is flagged as diverged, and stops no other.

    Raises:
        ValueError: for hyperparameters of unequal length, or that cannot be traced; an unknown
            strategy; a `train` that is not pure or returns what is no array; metrics that differ
            between groups in name, dtype or shape (floating curves may differ in length); a
            `directory` that belongs to another sweep; or several processes without one, or with
            fewer trials than processes.
        KeyboardInterrupt: after Ctrl-C, with a line that says what is kept.

    Example:
        >>> def train(key, learning_rate):  # steps downhill on (w − 1)², from w = 0
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
    key_description = describe_key(key)
    devices = tuple(jax.local_devices() if devices is None else devices)
    strategy = choose_strategy(strategy, devices)
    if chunk is not None and chunk < 1:
        raise ValueError(f"`chunk` must be at least 1, got {chunk}.")
    folder = None if directory is None else Path(directory)
    number = len(next(iter(trials.values())))
    process, processes = _this_process(process, processes, number, folder)
    groups = _shares(group_by(trials, static), process, processes)
    own = np.sort(np.concatenate([indices for _, indices in groups]))
    finished: list[Chunk] = []
    if folder is not None:
        name = getattr(train, "__qualname__", type(train).__name__)
        about = describe_sweep({"train": name, "static": sorted(static)}, trials, key)
        claim(folder, about, alone=processes == 1)
        write_trials(folder, trials)
        finished = read_chunks(folder)

    traced = {name: array for name, array in trials.items() if name not in static}
    dtypes = {name: jax.dtypes.canonicalize_dtype(array.dtype) for name, array in traced.items()}
    shapes = None
    total, done = len(own), len(own) - len(_waiting(own, finished))
    with progress_bar(progress, total, done, "trial") as bar:
        try:
            for fixed, indices in groups:
                waiting = _waiting(indices, finished)
                if not len(waiting):
                    continue
                plan = Plan(
                    fixed=tuple(fixed.items()),
                    traced=tuple((name, dtype.name) for name, dtype in dtypes.items()),
                    key=key_description,
                    strategy=strategy,
                    devices=devices,
                    most=-(-(len(indices) if chunk is None else chunk) // len(devices)),
                    measure=chunk is None,
                )
                program = program_for(train, plan)
                shapes = _check_alike(shapes, program.shapes)
                for part in _run_group(program, key, traced, waiting, chunk, strategy):
                    if folder is not None:
                        write_chunk(folder, part)
                    finished.append(part)
                    done += len(part.indices)
                    if bar is not None:
                        bar.update(len(part.indices))
        except KeyboardInterrupt:
            say_what_is_kept(done, total, "trial", folder)
            raise
    return assemble(trials, finished, own)


def _this_process(
    process: int | None, processes: int | None, trials: int, folder: Path | None
) -> tuple[int, int]:
    """Which of how many processes this is."""
    if (process is None) != (processes is None):
        raise ValueError(
            f"`process` and `processes` belong together, got {process} and {processes}."
        )
    if process is None or processes is None:
        process, processes = jax.process_index(), jax.process_count()
    if not 0 <= process < processes:
        raise ValueError(
            f"`process` must be 0 to {processes - 1} with {processes} processes, got {process}."
        )
    if processes > 1 and folder is None:
        raise ValueError(f"{processes} processes need a `directory`, in which their results meet.")
    if processes > trials:
        raise ValueError(f"{processes} processes cannot share {trials} trials: start fewer.")
    return process, processes


def _shares(groups: Groups, process: int, processes: int) -> Groups:
    """What this process runs: of N processes each Nth trial, counted through all groups."""
    shares, before = [], 0
    for fixed, indices in groups:
        places = before + np.arange(len(indices))
        shares.append((fixed, indices[places % processes == process]))
        before += len(indices)
    return shares


def _waiting(indices: np.ndarray, finished: list[Chunk]) -> np.ndarray:
    """Those of a group's trials that no chunk holds."""
    return np.setdiff1d(indices, np.concatenate([[-1], *[part.indices for part in finished]]))


def _run_group(
    program: Program,
    key: Array,
    traced: Trials,
    waiting: np.ndarray,
    chunk: int | None,
    strategy: str,
) -> Iterator[Chunk]:
    """Runs trials of one program, chunk by chunk."""
    devices = len(program.devices)
    most = program.capacity * devices if chunk is None or strategy == "vmap" else chunk
    # How long a trial takes shows with the first one on each device.
    size = devices if chunk is None and strategy == "map" else most
    while len(waiting):
        start = time.perf_counter()
        part = run_chunk(program, key, traced, waiting[:size])
        seconds = time.perf_counter() - start
        yield part
        waiting = waiting[len(part.indices) :]
        if chunk is None and strategy == "map":
            per_round = seconds / -(-len(part.indices) // devices)
            rounds = int(min(CHUNK_SECONDS / max(per_round, 1e-9), program.capacity))
            size = max(1, rounds) * devices


def _check_alike(shapes: Any, new: Any) -> Any:
    """Raises ValueError unless the metrics of two groups can lie in one array each."""
    if shapes is None:
        return new
    if shapes.keys() != new.keys():
        raise ValueError(
            f"`train` returns the metrics {sorted(shapes)} for some static values and "
            f"{sorted(new)} for others."
        )
    for name, one in shapes.items():
        other = new[name]
        is_floating_curve = one.ndim == other.ndim == 1 and one.dtype.kind == "f"
        if one.dtype != other.dtype or (one.shape != other.shape and not is_floating_curve):
            raise ValueError(
                f"`train` returns `{name}` as {one.dtype} {list(one.shape)} for some static values "
                f"and as {other.dtype} {list(other.shape)} for others."
            )
    return new
