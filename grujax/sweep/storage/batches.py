"""The trials that a search has asked for, in its directory: a file for each batch.

    batch-000012.npz  the hyperparameters of a batch of trials, named by its first trial

A search writes them before it runs the trials, and chunks of their metrics as a sweep does.
"""

from __future__ import annotations

import uuid
from collections.abc import Container
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from grujax.sweep.storage.arrays import (
    DamagedFileError,
    add_prefix,
    read_arrays,
    with_prefix,
    write_arrays,
)
from grujax.sweep.storage.chunks import Chunk, load_chunks, read_chunks
from grujax.sweep.storage.claims import claim, read_about
from grujax.sweep.storage.files import Damage, numbered_files, set_aside
from grujax.sweep.trials import Trials

_NAME = "search"  # of the entry of sweep.json, and of each batch, that names the search


class Asked(NamedTuple):
    """A trial that a search has asked for."""

    params: dict[str, Any]  # as Optuna has them
    values: dict[str, Any]  # as `train` takes them


class Batch(NamedTuple):
    """Trials that were asked for together."""

    search: str  # the name of the search, which no other one has
    trials: dict[int, Asked]  # by number


class Opened(NamedTuple):
    """What a directory says of a search."""

    name: str
    about: dict[str, Any]
    trials: dict[int, Asked]
    chunks: list[Chunk]


def open_search(directory: Path, about: dict[str, Any]) -> Opened:
    """Claims a directory for a search, and reads its batches and chunks. Damaged files are mended.

    Raises:
        ValueError: as `claim`.
    """
    batches, damages = _read_batches(directory)
    chunks, more = read_chunks(directory)
    name = _find_name(directory, batches)
    about = about | {_NAME: name}
    claim(directory, about, [chunk.origin for chunk in chunks])
    set_aside(damages, "its trials are asked for again")
    set_aside(more, "its trials run again")
    return Opened(name, about, _trials_of(batches), chunks)


def new_name() -> str:
    """A name for a search."""
    return uuid.uuid4().hex


def write_batch(directory: Path, batch: Batch) -> None:
    """Adds the file of a batch. Raises OSError if the disk refuses it."""
    numbers, trials = list(batch.trials), list(batch.trials.values())
    arrays = {_NAME: np.array(batch.search), "trials": np.array(numbers)}
    arrays |= add_prefix("param", as_arrays([trial.params for trial in trials]))
    arrays |= add_prefix("value", as_arrays([trial.values for trial in trials]))
    write_arrays(directory / f"batch-{numbers[0]:06d}.npz", arrays)


def drop_chunks(directory: Path, chunks: list[Chunk], known: Container[int]) -> list[Chunk]:
    """The chunks whose hyperparameters are known; the files of the others are moved aside."""
    kept = []
    for chunk in chunks:
        if any(number not in known for number in chunk.indices.tolist()):
            path = directory / f"chunk-{chunk.indices[0]:06d}.npz"
            reason = f"{path} has trials whose hyperparameters are lost."
            set_aside([Damage(path, reason)], "they are asked for again")
        else:
            kept.append(chunk)
    return kept


def load_search(directory: Path) -> tuple[Trials, list[Chunk]] | None:
    """The hyperparameters of all trials, and the chunks; None if there is no search.

    Raises:
        ValueError: a batch is damaged, missing or unreadable.
    """
    batches, damages = _read_batches(directory)
    if damages:
        raise ValueError(f"{damages[0].reason} The call of `search` that made it mends it.")
    if not batches:
        return None
    trials = _trials_of(batches)
    if missing := set(range(max(trials) + 1)) - trials.keys():
        raise ValueError(
            f"{directory} lacks the hyperparameters of trial {min(missing)}. The call of `search` "
            "that made it mends it."
        )
    arrays = as_arrays([trials[number].values for number in sorted(trials)])
    return arrays, load_chunks(directory, arrays)


def as_arrays(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The values of each hyperparameter `[n]`."""
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _trials_of(batches: list[Batch]) -> dict[int, Asked]:
    return {number: asked for batch in batches for number, asked in batch.trials.items()}


def _find_name(directory: Path, batches: list[Batch]) -> str:
    """The name that sweep.json or a batch gives the search, or a new one."""
    about = read_about(directory)
    known = about.get(_NAME) if isinstance(about, dict) else None
    if isinstance(known, str):
        return known
    return batches[0].search if batches else new_name()


def _read_batches(directory: Path) -> tuple[list[Batch], list[Damage]]:
    batches, damages = [], []
    for path in numbered_files(directory, "batch"):
        try:
            batches.append(_parse(path, read_arrays(path)))
        except DamagedFileError as error:
            damages.append(Damage(path, str(error)))
    return batches, damages


def _parse(path: Path, arrays: dict[str, np.ndarray]) -> Batch:
    if _NAME not in arrays or "trials" not in arrays:
        raise ValueError(f"{path} is no batch of a search: it holds {', '.join(arrays)}.")
    columns = [with_prefix(prefix, arrays) for prefix in ("param", "value")]
    rows = range(len(arrays["trials"]))
    params, values = ([{k: a[i].item() for k, a in of.items()} for i in rows] for of in columns)
    trials = map(Asked, params, values)
    return Batch(str(arrays[_NAME]), dict(zip(arrays["trials"].tolist(), trials, strict=True)))
