"""A search, batch by batch: trials are asked for, run and told."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jax import Array

from grujax.sweep.contract import Train
from grujax.sweep.distributions import Distribution
from grujax.sweep.executors import Engine, Packed, run_elsewhere
from grujax.sweep.fingerprints import Origin
from grujax.sweep.local import Work, find_work, run_here
from grujax.sweep.loggers import Logger, TrialLog, open_log
from grujax.sweep.plan import Plan, Static
from grujax.sweep.programs import origin_of
from grujax.sweep.result import SweepResult, as_values, assemble
from grujax.sweep.running import check_finished, save_parts
from grujax.sweep.searches.studies import Ledger, check_is_study
from grujax.sweep.storage import (
    Batch,
    Chunk,
    Opened,
    Saver,
    as_arrays,
    check_writable,
    drop_chunks,
    identify,
    locked,
    missing_trials,
    new_name,
    open_search,
    write_batch,
)
from grujax.sweep.trials import Groups, Trials, group_by

if TYPE_CHECKING:
    from optuna import Study

Parts = Generator[tuple[Static, Chunk], None, None]  # chunks as they are finished


@dataclass(frozen=True)
class SearchResult(SweepResult):
    """The result of `search`: a `SweepResult` with the study that asked for its trials.

    Attributes:
        study: the study of Optuna, for its plots and importances.
        numbers: the number `[n]` of each trial in the study.
    """

    study: Study
    numbers: np.ndarray

    def __post_init__(self) -> None:
        """Checks the arrays and the study."""
        super().__post_init__()
        check_is_study(self.study)
        numbers = as_values("numbers", self.numbers, "integers", "iu")
        if numbers.shape != self.diverged.shape:
            raise ValueError(
                f"`numbers` must have a value for each of {len(self.diverged)} trials, got shape "
                f"{list(numbers.shape)}."
            )
        object.__setattr__(self, "numbers", numbers)  # the class is frozen


class Workers(NamedTuple):
    """An executor that runs the trials."""

    engine: Engine  # which stays open from one batch to the next
    train: Packed
    devices: int | None  # of each worker; None: all that it has
    retries: int


class Search(NamedTuple):
    """The checked arguments of `search`."""

    train: Train
    space: Mapping[str, Distribution]
    trials: int
    batch: int
    key: Array
    metric: str
    plan: Plan
    static: tuple[str, ...]
    directory: Path | None
    resume: str
    progress: bool
    workers: Workers | None  # None: this process runs the trials
    loggers: list[Logger]


def run_search(search: Search, about: dict[str, Any], study: Study, reseeds: bool) -> SearchResult:
    """Asks, runs and tells what is missing in the directory, which says what is not."""
    folder, key = search.directory, search.key if reseeds else None
    with locked(folder):
        opened = Opened(new_name(), about, {}, [])
        if folder is not None:
            opened = open_search(folder, about)
        ledger = Ledger(study, search.space, identify(about), opened.name, key)
        unwritten = ledger.resume(opened.trials)
        chunks = opened.chunks
        identity = identify(opened.about)

        @cache
        def find_origin(static: Static) -> Origin:
            return origin_of(search.train, search.plan._replace(static=static), identity)

        if folder is not None:
            chunks = _check_directory(search, folder, ledger, chunks, find_origin)
        writer: Saver[Batch] = Saver(None if folder is None else partial(write_batch, folder))

        def write(trials: dict[int, Any]) -> None:
            if trials:
                writer.save(Batch(opened.name, trials))

        write(unwritten)
        for chunk in chunks:
            ledger.tell(chunk.indices, chunk.metrics[search.metric])
        missing = search.trials - sum(len(chunk.indices) for chunk in chunks)
        sweep = None if folder is None else identity
        start = partial(_start, search, sweep, find_origin)
        parts = _parts(search, ledger, list(chunks), write, start)
        saved = save_parts(parts, folder, find_origin, search.trials, missing, search.progress)
        with open_log(search.loggers, folder, range(search.trials)) as log, closing(parts):
            for chunk in chunks:
                _record(log, ledger, chunk)
            try:
                for part in saved:
                    chunks.append(part)
                    ledger.tell(part.indices, part.metrics[search.metric])
                    _record(log, ledger, part)
            except BaseException:
                if folder is None:
                    ledger.give_up()
                raise
        unsaved = sum(len(batch.trials) for batch in writer.waiting)
        writer.warn_of(f"the hyperparameters of {unsaved} trials are not saved in {folder}")
    result = assemble(_arrays(ledger), chunks, np.arange(search.trials))
    places = ledger.places(search.trials)
    return SearchResult(result.trials, result.metrics, result.diverged, study, places)


def _check_directory(
    search: Search,
    folder: Path,
    ledger: Ledger,
    chunks: list[Chunk],
    find_origin: Callable[[Static], Origin],
) -> list[Chunk]:
    """The chunks that the search can go on with. Raises ValueError if it cannot go on."""
    there = max(ledger.trials, default=-1) + 1
    if there > search.trials:
        raise ValueError(
            f"`directory` {folder} has {there} trials already, more than `trials`, {search.trials}."
        )
    chunks = drop_chunks(folder, chunks, ledger.trials)
    if chunks and search.resume == "checked":
        groups = group_by(_arrays(ledger), search.static)
        check_finished(folder, groups, groups, chunks, find_origin)
    missing = search.trials - sum(len(chunk.indices) for chunk in chunks)
    if missing:
        check_writable(folder, f"{missing} of {search.trials} trials")
    return chunks


def _parts(
    search: Search,
    ledger: Ledger,
    finished: list[Chunk],
    write: Callable[[dict[int, Any]], None],
    start: Callable[[Trials, list[Work]], Parts],
) -> Parts:
    """Chunks of trials as they are finished. When all are told, the next batch is asked for.

    Args:
        search: the search.
        ledger: its trials.
        finished: the chunks of earlier calls.
        write: writes what was asked for.
        start: runs trials, given the values of the traced hyperparameters.
    """
    compared = finished  # with the metrics that `train` returns
    while len(ledger.trials) < search.trials or len(_missing(ledger, finished)):
        missing = _missing(ledger, finished)
        if not len(missing):
            unknown = (n for n in range(search.trials) if n not in ledger.trials)
            write(ledger.ask(list(islice(unknown, search.batch))))
            missing = _missing(ledger, finished)
        arrays = _arrays(ledger)
        traced = {name: arrays[name].astype(dtype) for name, dtype in search.plan.traced}
        groups = _groups(arrays, missing, search.static)
        works = find_work(search.train, search.plan, groups, compared, None)
        with closing(start(traced, works)) as parts:
            for static, part in parts:
                finished.append(part)
                yield static, part
        compared = finished[:1]


def _start(
    search: Search,
    sweep: str | None,
    find_origin: Callable[[Static], Origin],
    traced: Trials,
    works: list[Work],
) -> Parts:
    """Runs trials, here or on the workers of the executor."""
    if search.workers is None:
        return run_here(search.train, search.key, traced, works, None)
    engine, train, devices, retries = search.workers
    return run_elsewhere(
        engine,
        train,
        search.key,
        traced,
        works,
        chunk=None,
        devices=devices,
        retries=retries,
        sweep=sweep,
        find_origin=find_origin if search.resume == "checked" else None,
    )


def _record(log: TrialLog, ledger: Ledger, chunk: Chunk) -> None:
    """Records the trials of a chunk in the loggers."""
    numbers = chunk.indices.tolist()
    values = as_arrays([ledger.trials[number].values for number in numbers])
    log.record(numbers, values, chunk.metrics, chunk.diverged)


def _missing(ledger: Ledger, finished: list[Chunk]) -> np.ndarray:
    """The numbers of the trials that were asked for and have not run."""
    return missing_trials(np.array(list(ledger.trials), np.int64), finished)


def _groups(arrays: Trials, numbers: np.ndarray, static: tuple[str, ...]) -> Groups:
    """Trials with these numbers, by their static values."""
    groups = group_by({name: array[numbers] for name, array in arrays.items()}, static)
    return [(values, numbers[positions]) for values, positions in groups]


def _arrays(ledger: Ledger) -> Trials:
    """The values of each hyperparameter `[n]`; those of lost trials are any until asked for."""
    known = ledger.trials
    some = next(iter(known.values()))
    return as_arrays([known.get(number, some).values for number in range(max(known) + 1)])
