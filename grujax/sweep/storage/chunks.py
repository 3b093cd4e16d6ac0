"""The results of a sweep in its directory: trials.npz, and a file for each chunk of trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from grujax.sweep.fingerprints import Origin
from grujax.sweep.progress import warn
from grujax.sweep.storage.arrays import (
    DamagedFileError,
    add_prefix,
    read_arrays,
    with_prefix,
    write_arrays,
)
from grujax.sweep.storage.claims import (
    claim,
    digest_values,
    read_about,
    read_origin,
    write_origin,
)
from grujax.sweep.storage.files import Damage, numbered_files, set_aside, told
from grujax.sweep.trials import Trials

_TRIALS = "trials.npz"


class Chunk(NamedTuple):
    """Finished trials."""

    indices: np.ndarray  # [n] int64
    metrics: dict[str, np.ndarray]  # each [n, ...]
    origin: Origin | None = None  # None if it was written by a version that did not note it

    @property
    def diverged(self) -> np.ndarray:
        """`[n]` bool, whether any metric of the trial contains NaN."""
        found = np.zeros(len(self.indices), bool)
        for array in self.metrics.values():
            if jnp.issubdtype(array.dtype, np.inexact):
                found |= np.isnan(array).reshape(len(array), -1).any(1)
        return found


def open_sweep(directory: Path, about: dict[str, Any], trials: Trials, alone: bool) -> list[Chunk]:
    """Claims a directory for a sweep, and reads its chunks. Damaged files are mended.

    Raises:
        ValueError: as `claim`.
    """
    chunks, damages = read_chunks(directory)
    claim(directory, about, [chunk.origin for chunk in chunks], alone)
    set_aside(damages, "its trials run again")
    _write_trials(directory, trials)
    return chunks


def load_sweep(directory: Path) -> tuple[Trials, list[Chunk]]:
    """The hyperparameters of all trials, and the chunks. Damaged chunks are left out and reported.

    Raises:
        ValueError: the hyperparameters are missing, damaged or unreadable.
    """
    path = directory / _TRIALS
    if not path.exists():
        raise ValueError(f"{directory} holds no sweep: there is no {_TRIALS} in it.")
    try:
        trials = read_arrays(path)
    except DamagedFileError as error:
        raise ValueError(f"{error} The call of `run` that made it writes it anew.") from error
    return trials, load_chunks(directory, trials)


def load_chunks(directory: Path, trials: Trials) -> list[Chunk]:
    """The chunks of a directory for reading. Damaged ones are left out and reported."""
    chunks, damages = read_chunks(directory)
    for damage in damages:
        warn(f"{damage.reason} The result lacks its trials.")
    _warn_of_mixture(directory, trials, chunks)
    return chunks


def write_chunk(directory: Path, chunk: Chunk) -> None:
    """Adds the file of a chunk. Raises OSError if the disk refuses it."""
    arrays = {"trials": chunk.indices} | add_prefix("metric", chunk.metrics)
    arrays |= write_origin(chunk.origin)
    write_arrays(directory / f"chunk-{chunk.indices[0]:06d}.npz", arrays)


def missing_trials(indices: np.ndarray, chunks: list[Chunk]) -> np.ndarray:
    """The indices that are in no chunk, sorted."""
    return np.setdiff1d(indices, np.concatenate([[-1], *[chunk.indices for chunk in chunks]]))


def read_chunks(directory: Path) -> tuple[list[Chunk], list[Damage]]:
    """The chunks in a directory, and the damaged files."""
    chunks, damages = [], []
    for path in numbered_files(directory, "chunk"):
        try:
            chunks.append(_parse(path, read_arrays(path)))
        except DamagedFileError as error:
            damages.append(Damage(path, str(error)))
    return chunks, damages


def _parse(path: Path, arrays: dict[str, np.ndarray]) -> Chunk:
    if "trials" not in arrays:
        raise ValueError(f"{path} is no chunk of a sweep: it holds {', '.join(arrays)}.")
    return Chunk(arrays["trials"], with_prefix("metric", arrays), read_origin(path, arrays))


def _warn_of_mixture(directory: Path, trials: Trials, chunks: list[Chunk]) -> None:
    """Warns if trials with the same static values were computed by different programs."""
    about = read_about(directory)
    static = about.get("static", []) if isinstance(about, dict) else []
    groups: dict[tuple, dict[tuple, list[int]]] = {}
    for chunk in chunks:
        if chunk.origin is not None:
            values = tuple(trials[name][chunk.indices[0]] for name in static)
            programs = groups.setdefault(values, {})
            program = chunk.origin.functions["train"][1:]  # without the name
            programs.setdefault(program, []).extend(chunk.indices.tolist())
    for programs in groups.values():
        most, *others = sorted(programs.values(), key=len, reverse=True)
        if others:
            few, more = sorted(others[0])[:5], ", ..." if len(others[0]) > 5 else ""
            shown = ", ".join(map(str, few)) + more
            warn(
                f"{directory} holds results of different code: trials {shown} were computed by "
                f"another program than trial {most[0]}."
            )


def _write_trials(directory: Path, trials: Trials) -> None:
    """Writes the hyperparameters of all trials, so that the directory alone can be read."""
    path = directory / _TRIALS
    if path.exists():
        damage = _damage_of(path, trials)
        if damage is None:
            return
        set_aside([damage], "the trials of this call are written")
    with told(path, "written"):
        write_arrays(path, trials)


def _damage_of(path: Path, trials: Trials) -> Damage | None:
    try:
        there = read_arrays(path)
    except DamagedFileError as error:
        return Damage(path, str(error))
    digests = [{name: digest_values(a) for name, a in some.items()} for some in (there, trials)]
    is_same = digests[0] == digests[1]
    return None if is_same else Damage(path, f"{path} holds other trials than sweep.json names.")
