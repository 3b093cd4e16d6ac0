"""A trained model in one file: parameters, settings and vocabulary."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.serialization import msgpack_restore, msgpack_serialize
from jax import Array

from experiments.common.durable import DamagedFileError, naming, seal, unseal
from experiments.common.outputs import write_bytes
from experiments.common.provenance import command_line, current_command


def save_model(path: Path, params: Any, settings: dict[str, Any], words: list[str]) -> None:
    """Writes the file with a checksum and atomically: an existing one is replaced at the end.

    If it cannot be written, the command reports first, see `experiments.common.outputs`.

    Args:
      path: the file.
      params: nested dicts of arrays.
      settings: JSON values.
      words: the vocabulary in the order of its ids.
    """
    about = json.dumps({"settings": settings, "words": words})
    content = {"params": jax.tree.map(np.asarray, params), "about": about}
    write_bytes(path, seal(msgpack_serialize(content)))


def load_model(path: Path, command: str) -> tuple[Any, dict[str, Any], list[str]]:
    """Reads a file written by `save_model`. Returns: (params, settings, words).

    Args:
      path: the file.
      command: the command that writes it, for the error message.

    Raises:
      FileNotFoundError: the file does not exist.
      DamagedFileError: it has a wrong checksum, or is no model. A file of version 0.1 has none.
      OSError: it cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(_describe_missing(path, command_line(command)))
    with naming(path):
        content = path.read_bytes()
    content = unseal(content, path)
    try:
        model = msgpack_restore(content)
        about = json.loads(str(model["about"]))
        return model["params"], about["settings"], about["words"]
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # msgpack and Flax raise many kinds
        raise DamagedFileError(
            f"{path} is damaged, or no trained model ({type(error).__name__}). Train it again: "
            f"{command_line(command)}"
        ) from error


def _describe_missing(path: Path, line: str) -> str:
    """What to do where there is no model: name another one, or train it by the command `line`."""
    missing, command = f"There is no trained model {path}", current_command()
    if hasattr(command, "train") and getattr(command, "model", None) is not None:
        return f"{missing}; --model takes the folder of one that --train wrote."
    out = getattr(command, "out", None)
    if getattr(command, "quick", None) is False and path.is_relative_to(out):
        quick = out / "quick" / path.relative_to(out)
        if quick.exists():
            return (
                f"{missing}, but that of --quick: add --quick to use it, or train this one: {line}"
            )
    return f"{missing}. Train it first: {line}"


def to_arrays(params: Any) -> dict[str, Array]:
    """The parameters as a flat dict by path, for saving."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def from_arrays(like: Any, arrays: dict[str, Array]) -> Any:
    """The inverse of `to_arrays`, for parameters of the structure `like`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jnp.asarray(arrays[jax.tree_util.keystr(path)]), like
    )
