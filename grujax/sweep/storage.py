"""Sweeps and populations on disk: finished work survives the process and the machine.

    sweep.json        what is swept; a directory that belongs to another sweep is refused
    trials.npz        the trials' hyperparameters
    chunk-000012.npz  the metrics of one chunk of trials, named by its first trial
    round-000012.npz  a population after 12 rounds, see `grujax.sweep.populations.state`

Each file is written atomically. A trial is part of one chunk, so a sweep resumes by running the
trials that are in no chunk; the size of chunks may differ from call to call. Several processes may
write to one directory at the same time.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import warnings
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax import Array

from grujax.sweep.plan import key_data
from grujax.sweep.trials import Trials, count_trials

T = TypeVar("T")

_ABOUT, _TRIALS = "sweep.json", "trials.npz"


class Chunk(NamedTuple):
    """Finished trials."""

    indices: np.ndarray  # [n] int64
    metrics: dict[str, np.ndarray]  # each [n, ...]


def describe_sweep(functions: dict[str, Any], trials: Trials, key: Array) -> dict[str, Any]:
    """What identifies a sweep, as JSON values: its functions, key and trials."""
    return {
        **functions,
        "key": f"{jax.random.key_impl(key)} {key_data(key).tolist()}",
        "number of trials": count_trials(trials),
        "hyperparameters": {name: _digest(array) for name, array in sorted(trials.items())},
    }


def describe_function(function: Callable) -> str:
    """A name that is the same in the next process; that of a `partial` has its arguments."""
    if not isinstance(function, partial):
        return getattr(function, "__qualname__", type(function).__name__)
    arguments = [_describe(value) for value in function.args]
    arguments += [f"{name}={_describe(value)}" for name, value in function.keywords.items()]
    return f"{describe_function(function.func)}({', '.join(arguments)})"


def claim(directory: Path, about: dict[str, Any], alone: bool = True) -> None:
    """Writes sweep.json, or checks that the existing one says the same.

    Args:
        directory: created if missing.
        about: see `describe_sweep`.
        alone: no other process writes there, so that remains of a killed one can be removed.

    Raises:
        ValueError: the existing file differs; the message names the differences.
    """
    path = directory / _ABOUT
    if path.exists():
        differences = _differences(json.loads(path.read_text(encoding="utf-8")), about)
        if differences:
            raise ValueError(
                f"`directory` {directory} belongs to another sweep: {'; '.join(differences)}. "
                "Choose another directory, or delete this one to start over."
            )
    else:
        directory.mkdir(parents=True, exist_ok=True)
        _write_atomically(path, (json.dumps(about, indent=2) + "\n").encode())
    if alone:
        for leftover in directory.glob(".*.new"):
            leftover.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an .npz file atomically; afterwards it survives the process and the machine."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:  # `np.savez` reserves the name `file`
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    _write_atomically(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an .npz file."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def read_or_warn(path: Path, parse: Callable[[dict[str, np.ndarray]], T], effect: str) -> T | None:
    """`parse` of the arrays in a file; None, and a warning with the effect, if it is damaged."""
    try:
        return parse(read_arrays(path))
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
        warnings.warn(f"{path} is damaged ({error}); {effect}.", stacklevel=4)
        return None


def add_prefix(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays under the names `prefix/name`."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def with_prefix(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `add_prefix`: the arrays that have the prefix, without it."""
    start = f"{prefix}/"
    return {
        name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)
    }


def write_trials(directory: Path, trials: Trials) -> None:
    """Writes the hyperparameters of all trials, so that the directory alone can be read."""
    if not (directory / _TRIALS).exists():
        write_arrays(directory / _TRIALS, trials)


def read_trials(directory: Path) -> Trials:
    """Reads the hyperparameters. Raises ValueError if there is no such file."""
    path = directory / _TRIALS
    if not path.exists():
        raise ValueError(f"{directory} holds no sweep: there is no {_TRIALS} in it.")
    return read_arrays(path)


def write_chunk(directory: Path, chunk: Chunk) -> None:
    """Adds the file of a chunk."""
    arrays = {"trials": chunk.indices} | add_prefix("metric", chunk.metrics)
    write_arrays(directory / f"chunk-{chunk.indices[0]:06d}.npz", arrays)


def read_chunks(directory: Path) -> list[Chunk]:
    """Reads all chunks. A damaged one is reported and left out, so that its trials run again."""

    def parse(arrays: dict[str, np.ndarray]) -> Chunk:
        return Chunk(arrays["trials"], with_prefix("metric", arrays))

    paths = sorted(directory.glob("chunk-*.npz"))
    chunks = [read_or_warn(path, parse, "its trials run again") for path in paths]
    return [chunk for chunk in chunks if chunk is not None]


def missing_trials(indices: np.ndarray, chunks: list[Chunk]) -> np.ndarray:
    """The indices that are in no chunk, sorted."""
    return np.setdiff1d(indices, np.concatenate([[-1], *[chunk.indices for chunk in chunks]]))


def _differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    differences = [
        f"`{name}` is {there.get(name)!r} there and {here.get(name)!r} here"
        for name in (*here, *(there.keys() - here.keys()))
        if name != "hyperparameters" and there.get(name) != here.get(name)
    ]
    old, new = there.get("hyperparameters", {}), here["hyperparameters"]
    differences += [f"it has no hyperparameter `{name}`" for name in new if name not in old]
    differences += [f"it has a hyperparameter `{name}`" for name in old if name not in new]
    if not differences:
        changed = [f"`{name}`" for name in new if old[name] != new[name]]
        differences += [f"the trials differ in {', '.join(changed)}"] if changed else []
    return differences


def _digest(array: np.ndarray) -> str:
    content = json.dumps([array.dtype.kind, array.astype(str).tolist()])
    return hashlib.sha256(content.encode()).hexdigest()


def _describe(value: Any) -> str:
    if callable(value):
        return describe_function(value)
    plain = isinstance(value, (bool, int, float, str, tuple))
    return repr(value) if plain else type(value).__name__


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    if os.name == "posix":  # the name itself is on disk once its folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
