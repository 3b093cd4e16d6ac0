"""A sweep on disk: what is finished stays, whatever happens to the process.

    sweep.json        what is swept: a directory that belongs to another sweep is refused
    trials.npz        the trials' hyperparameters
    chunk-000012.npz  the metrics of one chunk of trials, named by its first trial

A file is there whole or not at all. Each trial lies in one chunk, so going on means to run the
trials that no chunk holds; how those are cut into chunks may differ from call to call. Several
processes may write to one directory at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from grujax.sweep.trials import Trials

_ABOUT, _TRIALS = "sweep.json", "trials.npz"


class Chunk(NamedTuple):
    """Finished trials."""

    indices: np.ndarray  # [n] int64
    metrics: dict[str, np.ndarray]  # each [n, ...]


def describe_sweep(functions: dict[str, Any], trials: Trials, key: Array) -> dict[str, Any]:
    """What makes a sweep this sweep, as JSON values: its functions, key and trials."""
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    data = np.asarray(jax.random.key_data(key) if typed else key)
    return {
        **functions,
        "key": f"{jax.random.key_impl(key)} {data.tolist()}",
        "number of trials": len(next(iter(trials.values()))),
        "hyperparameters": {name: _digest(array) for name, array in sorted(trials.items())},
    }


def claim(directory: Path, about: dict[str, Any], alone: bool = True) -> None:
    """Writes sweep.json, or checks that the one which is there says the same.

    Args:
        directory: made if it is not there.
        about: see `describe_sweep`.
        alone: no other process writes there, so that what a killed one left can be removed.

    Raises:
        ValueError: it says something else; the message names the differences.
    """
    path = directory / _ABOUT
    if path.exists():
        differences = _differences(json.loads(path.read_text(encoding="utf-8")), about)
        if differences:
            raise ValueError(
                f"`directory` {directory} belongs to another sweep: {'; '.join(differences)}. "
                "Choose another directory, or delete this one to begin anew."
            )
    else:
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(about, indent=2) + "\n").encode())
    if alone:
        for leftover in directory.glob(".*.new"):
            leftover.unlink(missing_ok=True)


def write_trials(directory: Path, trials: Trials) -> None:
    """Adds the file of all trials, which are then known without the call that ran them."""
    if not (directory / _TRIALS).exists():
        content = BytesIO()
        np.savez(content, allow_pickle=False, **trials)
        write_atomically(directory / _TRIALS, content.getvalue())


def read_trials(directory: Path) -> Trials:
    """Reads it. Raises ValueError if it is not there."""
    path = directory / _TRIALS
    if not path.exists():
        raise ValueError(f"{directory} holds no sweep: there is no {_TRIALS} in it.")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def write_chunk(directory: Path, chunk: Chunk) -> None:
    """Adds a chunk's file. When this returns, it survives the process and the machine."""
    content = BytesIO()
    arrays: dict[str, Any] = {f"metric/{name}": array for name, array in chunk.metrics.items()}
    np.savez(content, allow_pickle=False, trials=chunk.indices, **arrays)
    write_atomically(directory / f"chunk-{chunk.indices[0]:06d}.npz", content.getvalue())


def read_chunks(directory: Path) -> list[Chunk]:
    """All chunks that are there. A damaged one is reported and left out: its trials run again."""
    chunks = []
    for path in sorted(directory.glob("chunk-*.npz")):
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            chunks.append(
                Chunk(
                    arrays.pop("trials"),
                    {name.removeprefix("metric/"): array for name, array in arrays.items()},
                )
            )
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError) as error:
            warnings.warn(f"{path} is damaged ({error}); its trials run again.", stacklevel=3)
    return chunks


def _differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    differences = [
        f"`{name}` is {there.get(name)!r} there and {here.get(name)!r} here"
        for name in (*here, *(there.keys() - here.keys()))
        if name != "hyperparameters" and there.get(name) != here.get(name)
    ]
    digests, own = there.get("hyperparameters", {}), here["hyperparameters"]
    differences += [f"it has no hyperparameter `{name}`" for name in own if name not in digests]
    differences += [f"it has a hyperparameter `{name}`" for name in digests if name not in own]
    if not differences:
        changed = [f"`{name}`" for name in own if digests[name] != own[name]]
        differences += [f"the trials differ in {', '.join(changed)}"] if changed else []
    return differences


def _digest(array: np.ndarray) -> str:
    content = json.dumps([array.dtype.kind, array.astype(str).tolist()])
    return hashlib.sha256(content.encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all, and survives the machine."""
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
