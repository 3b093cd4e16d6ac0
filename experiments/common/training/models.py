"""A trained model in one file: parameters, settings and words, all that answering takes."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.serialization import msgpack_restore, msgpack_serialize

from experiments.common.training.loop import write_atomically


def save_model(path: Path, params: Any, settings: dict[str, Any], words: list[str]) -> None:
    """Writes the file; what was there before stays whole until then.

    Args:
      path: the file.
      params: nested dicts of arrays.
      settings: JSON values.
      words: the vocabulary's words in the order of their ids.
    """
    about = json.dumps({"settings": settings, "words": words})
    content = {"params": jax.tree.map(np.asarray, params), "about": about}
    write_atomically(path, msgpack_serialize(content))


def load_model(path: Path, command: str) -> tuple[Any, dict[str, Any], list[str]]:
    """Reads what `save_model` wrote. Returns: (params, settings, words).

    Args:
      path: the file.
      command: the command that makes it, for the error.

    Raises:
      FileNotFoundError: there is no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no trained model {path}. Train it first: {command}")
    content = msgpack_restore(path.read_bytes())
    about = json.loads(str(content["about"]))
    return content["params"], about["settings"], about["words"]
