"""Checkpoints of a training state with Orbax: each carries checksums, the newest intact one counts.

A checkpoint is a folder named by its epoch. It holds the state's arrays, and a small JSON item with
the CRC-32 of every array, because a storage format may decode a flipped bit without complaint.
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

from experiments.common.training.processes import are_several

PyTree = Any

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax logs every step it takes


class Checkpoints:
    """The checkpoints in one folder, of which the last two are kept.

    `save(epoch, state)` returns when the files are in place; a process killed meanwhile leaves the
    earlier checkpoints as they were. States may contain typed random keys.

    Of several processes the writer alone has one.
    """

    def __init__(self, directory: Path):
        processes = ocp.options.MultiprocessingOptions()
        if are_several():
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

        A damaged one is named in a warning, deleted, and the one before it is tried.

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
                    raise ValueError("an array's checksum is wrong")
            except Exception as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
                warnings.warn(
                    f"The checkpoint {self._directory / str(epoch)} is damaged ({reason}): "
                    "deleted, going back to the one before.",
                    stacklevel=2,
                )
                self._manager.delete(epoch)
                continue
            return epoch, with_typed_keys(restored["state"], like)
        return None

    def close(self) -> None:
        """Releases what Orbax holds."""
        self._manager.close()


def _is_typed_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _storable(state: PyTree) -> PyTree:
    """As Orbax takes it, which of several processes refuses arrays that lie in one."""
    state = without_typed_keys(state)
    return jax.tree.map(np.asarray, state) if are_several() else state


def without_typed_keys(state: PyTree) -> PyTree:
    """Random keys as the numbers that they are made of."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_typed_key(x) else x, state)


def with_typed_keys(stored: PyTree, like: PyTree) -> PyTree:
    """The inverse; `like` has the keys."""
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
