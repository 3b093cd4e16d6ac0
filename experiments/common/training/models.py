"""A trained model in one file: parameters, settings and vocabulary."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.serialization import msgpack_restore, msgpack_serialize

from experiments.common.files import write_atomically


def save_model(path: Path, params: Any, settings: dict[str, Any], words: list[str]) -> None:
    """Writes the file atomically: an existing one is replaced at the end.

    Args:
      path: the file.
      params: nested dicts of arrays.
      settings: JSON values.
      words: the vocabulary in the order of its ids.
    """
    about = json.dumps({"settings": settings, "words": words})
    content = {"params": jax.tree.map(np.asarray, params), "about": about}
    write_atomically(path, msgpack_serialize(content))


def load_model(path: Path, command: str) -> tuple[Any, dict[str, Any], list[str]]:
    """Reads a file written by `save_model`. Returns: (params, settings, words).

    Args:
      path: the file.
      command: the command that writes it, for the error message.

    Raises:
      FileNotFoundError: the file does not exist.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no trained model {path}. Train it first: {command}")
    content = msgpack_restore(path.read_bytes())
    about = json.loads(str(content["about"]))
    return content["params"], about["settings"], about["words"]
