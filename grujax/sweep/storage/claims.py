"""sweep.json: whose directory it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from grujax.sweep.fingerprints import Origin
from grujax.sweep.plan import key_data
from grujax.sweep.progress import warn
from grujax.sweep.storage.files import Damage, set_aside, told, write_atomically
from grujax.sweep.trials import Trials, count_trials

_ABOUT = "sweep.json"

# Names of functions that earlier versions wrote. What they compute is compared instead.
_FUNCTIONS = {"train", "init", "step", "evaluate", "exploit", "explore"}


def describe_sweep(settings: dict[str, Any], trials: Trials, key: Array) -> dict[str, Any]:
    """What identifies a sweep, as JSON values: its settings, key and trials."""
    return {
        **settings,
        "key": describe_key(key),
        "number of trials": count_trials(trials),
        "hyperparameters": {name: digest_values(array) for name, array in sorted(trials.items())},
    }


def describe_key(key: Array) -> str:
    """A text for a random key: its implementation and its numbers."""
    return f"{jax.random.key_impl(key)} {key_data(key).tolist()}"


def identify(about: dict[str, Any]) -> str:
    """A digest of what identifies a sweep."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def claim(
    directory: Path, about: dict[str, Any], origins: Sequence[Origin | None], alone: bool = True
) -> None:
    """Writes sweep.json, or checks that the existing one says the same.

    If it is damaged or missing, it is written anew where the results in the directory prove that
    they belong to this sweep.

    Args:
        directory: an existing one.
        about: see `describe_sweep`.
        origins: of the results in the directory; None if a file does not say it.
        alone: no other process writes there, so that remains of a killed one can be removed.

    Raises:
        ValueError: the directory belongs to another sweep, or may do so; the message names the
            differences. Or it cannot be read or written.
    """
    there = read_about(directory)
    proof = _find_proof(about, origins)
    if not isinstance(there, dict):
        _mend(directory / _ABOUT, there, about, proof)
    elif differences := "; ".join(_differences(there, about)):
        if proof != "all":
            raise ValueError(
                f"`directory` {directory} belongs to another sweep: {differences}. Choose another "
                "directory, or delete this one to start over."
            )
        path = directory / _ABOUT
        _mend(path, Damage(path, f"{path} is damaged ({differences})."), about, proof)
    if alone:
        for leftover in directory.glob(".*.new"):
            with suppress(OSError):  # in a folder that is only read
                leftover.unlink(missing_ok=True)


def read_about(directory: Path) -> dict[str, Any] | Damage | None:
    """What sweep.json says; its damage; or None if it does not exist.

    Raises:
        ValueError: it cannot be read.
    """
    path = directory / _ABOUT
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        about = json.loads(content)
        if not isinstance(about, dict) or not isinstance(about["hyperparameters"], dict):
            raise ValueError("it describes no sweep")
    except (ValueError, KeyError, RecursionError) as error:
        return Damage(path, f"{path} is damaged ({error}).")
    return about


def write_origin(origin: Origin | None) -> dict[str, np.ndarray]:
    """An entry for the file of a result; none for a result that does not say its origin."""
    return {} if origin is None else {"origin": np.array(origin.to_json())}


def read_origin(path: Path, arrays: dict[str, np.ndarray]) -> Origin | None:
    """The inverse of `write_origin`, from the arrays of the file."""
    if "origin" not in arrays:
        return None
    try:
        return Origin.from_json(str(arrays["origin"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} was written by another version of grujax: its entry `origin` is unknown here."
        ) from error


def digest_values(array: np.ndarray) -> str:
    """A digest of the values of a hyperparameter."""
    content = json.dumps([array.dtype.kind, array.astype(str).tolist()])
    return hashlib.sha256(content.encode()).hexdigest()


def _find_proof(about: dict[str, Any], origins: Sequence[Origin | None]) -> str:
    """Whether "all" results say that they belong to a sweep, or "some" do not; or "none" exist."""
    identity = identify(about)
    if any(origin is None or origin.sweep != identity for origin in origins):
        return "some"
    return "all" if origins else "none"


def _mend(path: Path, damage: Damage | None, about: dict[str, Any], proof: str) -> None:
    """Writes sweep.json anew, unless a result may belong to another sweep."""
    if proof == "some":
        reason = f"{path} is missing." if damage is None else damage.reason
        raise ValueError(
            f"{reason} The results beside it belong to another sweep, or do not say whose they "
            "are: put the file back, or choose another `directory`."
        )
    if damage is not None:
        set_aside([damage], "a new one is written: nothing beside it belongs to another sweep")
    elif proof == "all":
        warn(f"{path} is missing. A new one is written: the results beside it prove what it said.")
    with told(path, "written"):
        write_atomically(path, (json.dumps(about, indent=2) + "\n").encode())


def _differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    differences = [
        f"`{name}` is {there.get(name)!r} there and {here.get(name)!r} here"
        for name in (*here, *(there.keys() - here.keys() - _FUNCTIONS))
        if name != "hyperparameters" and there.get(name) != here.get(name)
    ]
    old, new = there["hyperparameters"], here["hyperparameters"]
    differences += [f"it has no hyperparameter `{name}`" for name in new if name not in old]
    differences += [f"it has a hyperparameter `{name}`" for name in old if name not in new]
    if not differences:
        changed = [f"`{name}`" for name in new if old[name] != new[name]]
        differences += [f"the trials differ in {', '.join(changed)}"] if changed else []
    return differences
