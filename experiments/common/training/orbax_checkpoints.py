"""Reads the checkpoints of version 0.1: folders that Orbax wrote.

Such a folder holds the item `state` and, in `checksums/metadata`, the CRC-32 of every array.
"""

import json
import logging
import re
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.common.durable import DamagedFileError, first_line

# How TensorStore, which Orbax reads with, reports a wrong checksum of its own.
_DATA_LOSS = re.compile("DATA_LOSS|checksum", re.I)


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays by their paths in the state, as in "params/w".

    Raises:
      DamagedFileError: an array has the wrong checksum.
      Exception: whatever else Orbax raises; it does not prove that the folder is damaged.
    """
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax logs every call
    checksums = json.loads((path / "checksums" / "metadata").read_bytes())
    state = str(path / "state")
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            about = checkpointer.metadata(state).item_metadata
            numpy = ocp.RestoreArgs(restore_type=np.ndarray)
            to_numpy = about and jax.tree.map(lambda _: numpy, about.tree)  # None: `restore` fails
            arguments = ocp.args.PyTreeRestore(restore_args=to_numpy)
            restored = checkpointer.restore(state, args=arguments)
    except Exception as error:
        if not _DATA_LOSS.search(str(error)):
            raise
        raise DamagedFileError(f"{path} is damaged: {first_line(error)[:120]}.") from error
    # The names in `checksums` are those of the state's classes, which Orbax does not keep.
    arrays = {
        jax.tree_util.keystr(place, simple=True, separator="/"): array
        for place, array in jax.tree_util.tree_leaves_with_path(restored)
    }
    if sorted(_crc(array) for array in arrays.values()) != sorted(checksums.values()):
        raise DamagedFileError(f"{path} is damaged: an array has the wrong checksum.")
    return arrays


def _crc(array: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())
