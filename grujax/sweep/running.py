"""Running a sweep: trials, chunks, devices."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from grujax.checks import check_bool, check_choice, check_integer, check_path
from grujax.sweep.contract import Train, check_takes
from grujax.sweep.executors import Engine, pack, run_elsewhere
from grujax.sweep.fingerprints import Origin, check_origins, warn_of_unknown
from grujax.sweep.local import Work, find_work, run_here
from grujax.sweep.loggers import TrialLog, check_log, open_log
from grujax.sweep.plan import Plan, Static, choose_devices, choose_workers, key_type
from grujax.sweep.programs import origin_of
from grujax.sweep.progress import progress_bar, report_interruption
from grujax.sweep.result import SweepResult, assemble
from grujax.sweep.storage import (
    Chunk,
    Saver,
    check_writable,
    describe_sweep,
    identify,
    locked,
    missing_trials,
    open_sweep,
    write_chunk,
)
from grujax.sweep.trials import (
    Groups,
    Trials,
    check_static,
    check_trials,
    choose_process,
    count_trials,
    group_by,
    share_groups,
)
from grujax.sweep.values import MOST


def run(
    train: Train,
    trials: Mapping[str, Any],
    *,
    key: Array,
    strategy: str | None = None,
    devices: Sequence[jax.Device] | int | None = None,
    chunk: int | None = None,
    directory: str | Path | None = None,
    resume: str = "checked",
    progress: bool = True,
    static: Sequence[str] = (),
    processes: int | None = None,
    process: int | None = None,
    executor: Any = None,
    retries: int = 2,
    log_to: Any = None,
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
        devices: the devices to use, or how many; by default all that this process has. For one per
            CPU core, run `jax.config.update("jax_num_cpu_devices", n)` before JAX is first used.
            With an `executor`: how many devices each worker uses; a CPU provides that many.
        chunk: how many trials run between two visits to Python, on all devices together; rounded up
            to a multiple of their number for "vmap". None measures: at most half the available
            memory, divided by what one trial takes by XLA's memory analysis; "map" also takes no
            more trials than run in about ten seconds.
        directory: where each finished chunk is written. The same call resumes there after the
            process was stopped or killed; with all trials done it runs nothing. A disk that refuses
            a chunk does not stop the sweep: a warning says what is not saved, and the result has
            it. A damaged file is moved aside with a warning, and its trials run again.
        resume: what to do if the directory has finished trials. "checked" goes on only if `train`
            computes the same as it did there: its StableHLO and the arrays that it closes over are
            the same, as `jax.export` lowers it for a CPU. Names of functions, source lines, devices
            and kernels do not matter; what Python callbacks do is not seen. If only a version of
            JAX or grujax differs, the error says so. "anyway" goes on all the same: finished trials
            stay as they are, and `train` runs the others. The directory then has trials of both,
            and later calls need "anyway", too.
        progress: show a progress bar, if tqdm is installed; where stderr is no terminal, a line now
            and then.
        static: the hyperparameters that set shapes, or that Python branches on. They reach `train`
            as Python values; trials are grouped, with one compilation per distinct combination.
        processes: how many processes share the trials, all with the same `directory`; by default
            `jax.process_count()`.
        process: the number of this one, from 0; by default `jax.process_index()`.
        executor: runs the chunks on its workers, as many at once as it has: an object with
            `submit(function, *args) -> future`, such as a pool of `concurrent.futures` whose
            processes are spawned, or those of Dask, MPI, loky and submitit; or a function without
            arguments that makes one. Only the second can be made anew when it breaks, as a process
            pool does if a worker is killed. The workers import `train`, or receive it by value
            where cloudpickle is installed: then it may be a lambda, a closure or in a script. They
            need no access to `directory`. "map" gives them trials that take about ten seconds, and
            fewer towards the end; "vmap" gives each an equal share. `chunk` fixes the number.
        retries: how often `executor` runs a chunk again that fails or whose worker dies.
        log_to: where each finished trial is recorded as a run, with its hyperparameters, scalars
            `[]` and curves `[n]`: "csv", "json", "tensorboard", "wandb" or "mlflow", a `Logger`
            such as `CSVLogger("runs/logs")`, or a list of these. Those given by name write to the
            folder `logs` of the `directory`, and need one. A trial is recorded after its chunk, and
            once: the same call records those that are finished and not recorded. A logger that
            fails does not stop the sweep; a warning says so.

    Returns:
        A `SweepResult`; of several processes each returns its own share, and `SweepResult.load`
        reads all. A trial with NaN in a metric is flagged as diverged, and does not stop others.

    Raises:
        ValueError: for hyperparameters of unequal length, that `train` does not take, or that
            cannot be traced: strings, and numbers that JAX would change, such as 2⁴⁰ or 1e-50
            without `JAX_ENABLE_X64`; an unknown strategy; a `train` that is not pure or returns
            something other than arrays; metrics that differ between groups in name, dtype or shape
            (floating curves may differ in length); a `directory` that belongs to another sweep or
            another `train`, that another process works in, or that cannot be read or written; or
            several processes without one, or with fewer trials than processes; an `executor`
            together with these, whose processes are forks, to which `train` cannot be sent, or
            which computes something else; or an unknown logger.
        ImportError: the package of a logger is not installed.
        RuntimeError: trials that failed on an `executor`, by number, after all others are finished;
            or it is broken.
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
    static = check_static(static)
    trials = check_trials(trials, static)
    check_takes("train", train, ("key",), trials)
    kind = key_type(key)
    chunk = None if chunk is None else check_integer("chunk", chunk, 1, MOST)
    folder = None if directory is None else check_path("directory", directory)
    progress = check_bool("progress", progress)
    retries = check_integer("retries", retries, 0, MOST)
    check_choice("resume", resume, ("checked", "anyway"))
    is_shared = process is not None or processes is not None
    process, processes = choose_process(process, processes, count_trials(trials), folder)
    loggers = check_log(log_to, folder, process, processes)
    places: tuple[jax.Device, ...] = ()
    if executor is None:
        places, strategy = choose_devices(devices, strategy)
    else:
        engine, packed = Engine(executor), pack(train)
        count, strategy = choose_workers(devices, strategy, is_shared)
    every = group_by(trials, static)
    groups = share_groups(every, process, processes)
    traced = {name: array for name, array in trials.items() if name not in static}
    dtypes = {name: jax.dtypes.canonicalize_dtype(array.dtype) for name, array in traced.items()}
    plan = Plan(
        trials=0,  # of each group, see `find_work`
        traced=tuple((name, dtype.name) for name, dtype in dtypes.items()),
        key=kind,
        strategy=strategy,
        devices=places,
        fit_memory=chunk is None,
    )
    about = describe_sweep({"static": sorted(static)}, trials, key)
    selected = np.sort(np.concatenate([indices for _, indices in groups]))

    @cache
    def find_origin(static: Static) -> Origin:
        return origin_of(train, plan._replace(static=static), identify(about))

    start: Callable[[list[Work]], Generator[tuple[Static, Chunk], None, None]]
    if executor is None:
        start = partial(run_here, train, key, traced, chunk=chunk)
    else:
        start = partial(
            run_elsewhere,
            engine,
            packed,
            key,
            traced,
            chunk=chunk,
            devices=count,
            retries=retries,
            sweep=None if folder is None else identify(about),
            find_origin=find_origin if resume == "checked" else None,
        )
    with locked(folder, process, processes):
        chunks: list[Chunk] = []
        if folder is not None:
            chunks = open_sweep(folder, about, trials, alone=processes == 1)
            if resume == "checked":
                check_finished(folder, every, groups, chunks, find_origin)
        missing = len(missing_trials(selected, chunks))
        if folder is not None and missing:
            check_writable(folder, f"{missing} of {len(selected)} trials")
        works = find_work(train, plan, groups, chunks, chunk)
        with (
            open_log(loggers, folder, selected.tolist(), process, processes) as log,
            closing(start(works)) as parts,
        ):
            mine = set(selected.tolist())
            for part in chunks:
                if mine.issuperset(part.indices.tolist()):
                    record_chunk(log, part, trials)
            for part in save_parts(parts, folder, find_origin, len(selected), missing, progress):
                chunks.append(part)
                record_chunk(log, part, trials)
    return assemble(trials, chunks, selected)


def record_chunk(log: TrialLog, chunk: Chunk, trials: Trials) -> None:
    """Records the trials of a chunk, given the hyperparameters of all trials."""
    values = {name: array[chunk.indices] for name, array in trials.items()}
    log.record(chunk.indices.tolist(), values, chunk.metrics, chunk.diverged)


def save_parts(
    parts: Iterator[tuple[Static, Chunk]],
    folder: Path | None,
    find_origin: Callable[[Static], Origin],
    total: int,
    missing: int,
    progress: bool,
) -> Iterator[Chunk]:
    """Chunks as they are finished, each written to the folder; shows the progress."""
    saver: Saver[Chunk] = Saver(None if folder is None else partial(write_chunk, folder))
    done = total - missing

    def unsaved() -> int:
        return sum(len(chunk.indices) for chunk in saver.waiting)

    with progress_bar(progress, total, done, "trial") as update:
        try:
            for static, part in parts:
                if folder is not None and part.origin is None:
                    part = part._replace(origin=find_origin(static))
                done += len(part.indices)
                saver.save(part)
                update(len(part.indices))
                yield part
        except KeyboardInterrupt:
            report_interruption(done, total, "trial", folder, done - unsaved())
            raise
    saver.warn_of(f"{unsaved()} of {total} trials are not saved in {folder}")


def check_finished(
    folder: Path,
    every: Groups,
    groups: Groups,
    chunks: list[Chunk],
    find_origin: Callable[[Static], Origin],
) -> None:
    """Raises ValueError if `train` computes other results than the chunks now.

    Args:
        folder: where they are.
        every: all groups of trials.
        groups: those that this process has a share of, with this share.
        chunks: all finished ones.
        find_origin: what computes the trials of a group.
    """
    number_of = np.zeros(sum(len(indices) for _, indices in every), np.int64)
    for number, (_, indices) in enumerate(every):
        number_of[indices] = number
    warn_of_unknown(folder, [chunk.origin for chunk in chunks])
    numbers = [number_of[chunk.indices[0]] for chunk in chunks]
    for number, (static, share) in enumerate(groups):
        origins = [c.origin for c, of in zip(chunks, numbers, strict=True) if of == number]
        if len(share):
            check_origins(folder, origins, partial(find_origin, tuple(static.items())))
