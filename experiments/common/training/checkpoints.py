"""Checkpoints of a training state with Orbax, with checksums; the newest intact one is restored.

A checkpoint is a folder named after its epoch. It holds the state's arrays and a small JSON item
with the CRC-32 of every array, because a storage format may decode a flipped bit without an error.
"""

import logging
import warnings
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from experiments.common.training.processes import is_multiprocess

PyTree = Any

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax logs every save


class Checkpoints:
    """The checkpoints in one folder; the last two are kept.

    `save(epoch, state)` returns when the files are in place. A process killed during it leaves the
    earlier checkpoints untouched. States may contain typed random keys.

    Of several processes only the writer creates one.
    """

    def __init__(self, directory: Path):
        processes = ocp.options.MultiprocessingOptions()
        if is_multiprocess():
            processes = ocp.options.MultiprocessingOptions(
                active_processes={0}, barrier_sync_key_prefix="writer"
            )
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,
            create=False,
            enable_async_checkpointing=False,
            multiprocessing_options=processes,
        )
        self._directory = Path(directory).absolute()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, epoch: int, state: PyTree) -> None:
        """Writes `state` as the checkpoint of `epoch`."""
        stored = _storable(state)
        self._manager.save(
            epoch,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(stored),
                checksums=ocp.args.JsonSave(_checksums(stored)),
            ),
        )

    def restore_newest(self, like: PyTree) -> tuple[int, PyTree] | None:
        """Returns (epoch, state) of the newest intact checkpoint; None if there is none.

        A damaged checkpoint is deleted with a warning, and the one before it is tried.

        Args:
          like: a state with the structure, shapes and dtypes of the saved one (values unused).
        """
        template = _storable(like)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
        arguments = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract), checksums=ocp.args.JsonRestore()
        )
        for epoch in sorted(self._manager.all_steps(), reverse=True):
            try:
                restored = self._manager.restore(epoch, args=arguments)
                if _checksums(restored["state"]) != restored["checksums"]:
                    raise ValueError("an array has the wrong checksum")
            except Exception as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
                warnings.warn(
                    f"The checkpoint {self._directory / str(epoch)} is damaged ({reason}): "
                    "deleted, restoring the one before.",
                    stacklevel=2,
                )
                self._manager.delete(epoch)
                continue
            return epoch, with_typed_keys(restored["state"], like)
        return None

    def close(self) -> None:
        """Releases Orbax's resources."""
        self._manager.close()


def _is_typed_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _storable(state: PyTree) -> PyTree:
    """The state as Orbax accepts it: with several processes, NumPy arrays."""
    state = without_typed_keys(state)
    return jax.tree.map(np.asarray, state) if is_multiprocess() else state


def without_typed_keys(state: PyTree) -> PyTree:
    """Replaces typed random keys by their key data."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_typed_key(x) else x, state)


def with_typed_keys(stored: PyTree, like: PyTree) -> PyTree:
    """The inverse of `without_typed_keys`; `like` holds typed keys where `stored` had them."""
    return jax.tree.map(
        lambda x, y: (
            jax.random.wrap_key_data(x, impl=jax.random.key_impl(y)) if _is_typed_key(y) else x
        ),
        stored,
        like,
    )


def _checksums(tree: PyTree) -> dict[str, int]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path): zlib.crc32(np.ascontiguousarray(leaf).tobytes())
        for path, leaf in leaves
    }
