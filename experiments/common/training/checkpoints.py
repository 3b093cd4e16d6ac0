"""Checkpoints of a training state: each is one file with a checksum, named after its epoch.

The newest intact one is restored. Reading deletes nothing: a file with a wrong checksum is renamed,
and whatever else keeps a checkpoint from being restored ends the program.

Version 0.1 wrote folders with Orbax. `orbax_checkpoints` reads them.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.serialization import msgpack_restore, msgpack_serialize

from experiments.common.durable import (
    DamagedFileError,
    first_line,
    move_aside,
    naming,
    seal,
    sync_directory,
    unseal,
    write_durably,
)

PyTree = Any
KEPT = 2  # the number of checkpoints that are kept


class CheckpointError(ValueError):
    """A checkpoint cannot be restored, but is not known to be damaged; the message says why."""


class Restored(NamedTuple):
    """What a checkpoint holds."""

    epoch: int
    state: PyTree
    records: dict[str, str] | None  # the texts given to `save`; None: written by version 0.1


class Checkpoints:
    """The checkpoints in one folder; the last two are kept.

    `save(epoch, state, records)` returns when the file is on the disk. A process killed during it
    leaves the earlier checkpoints untouched. States may contain typed random keys.

    Of several processes only the writer creates one.
    """

    def __init__(self, directory: Path):
        self._directory = Path(directory).absolute()

    def save(self, epoch: int, state: PyTree, records: dict[str, str] | None = None) -> None:
        """Writes `state` as the checkpoint of `epoch`, then deletes all but the last two.

        Args:
          epoch: the number of finished epochs.
          state: a pytree of arrays.
          records: texts that belong to the state.
        """
        arrays = {name: np.asarray(leaf) for name, leaf in _named_leaves(state).items()}
        content = {"epoch": epoch, "arrays": arrays, "records": records or {}}
        write_durably(self._directory / str(epoch), seal(msgpack_serialize(content)))
        for old in sorted(e for e in self._epochs() if e <= epoch)[:-KEPT]:
            with suppress(OSError):  # the next call tries again
                _delete(self._directory / str(old))

    def restore_newest(self, like: PyTree) -> Restored | None:
        """Returns the newest intact checkpoint; None if there is none.

        A checkpoint with a wrong checksum is renamed with a warning, and the one before it is
        tried.

        Args:
          like: a state with the structure, shapes and dtypes of the saved one (values unused).

        Raises:
          CheckpointError: the newest one cannot be read, or has another structure, for example
            because a library was upgraded. Nothing has been changed.
          OSError: a damaged one cannot be renamed.
        """
        epochs = sorted(self._epochs(), reverse=True)
        for epoch in epochs:
            path = self._directory / str(epoch)
            try:
                return _restore(path, epoch, like)
            except DamagedFileError as error:
                then = "restoring the one before" if epoch > epochs[-1] else "there is no older one"
                warnings.warn(f"{error} It is kept as {move_aside(path)}; {then}.", stacklevel=2)
        return None

    def make_directory(self) -> None:
        """Creates the folder if it does not exist."""
        self._directory.mkdir(parents=True, exist_ok=True)

    def _epochs(self) -> list[int]:
        if not self._directory.exists():
            return []
        return [int(path.name) for path in self._directory.iterdir() if path.name.isdecimal()]


def _delete(path: Path) -> None:
    if path.is_dir():
        rmtree(path)
    else:
        path.unlink()
    sync_directory(path.parent)


def _restore(path: Path, epoch: int, like: PyTree) -> Restored:
    """Restores one checkpoint. Raises: DamagedFileError, CheckpointError."""
    with _unchanged(path):
        if path.is_dir():
            from experiments.common.training import orbax_checkpoints

            return Restored(epoch, _fill(like, orbax_checkpoints.read(path), path), None)
        with naming(path):
            content = path.read_bytes()
        content = msgpack_restore(unseal(content, path, required=True))
        return Restored(epoch, _fill(like, content["arrays"], path), content["records"])


@contextmanager
def _unchanged(path: Path) -> Iterator[None]:
    """Inside, what does not prove damage is raised as a CheckpointError."""
    try:
        yield
    except (DamagedFileError, CheckpointError):
        raise
    except Exception as error:
        raise CheckpointError(
            f"The checkpoint {path} is not restored ({first_line(error)}). Nothing was changed."
        ) from error


def _fill(like: PyTree, arrays: dict[str, np.ndarray], path: Path) -> PyTree:
    """The state with the structure of `like` and the stored arrays.

    Raises:
      CheckpointError: they do not fit.
    """
    leaves = _named_leaves(like)
    differences = [
        f"`{name}` is {_describe(arrays.get(name))} there and {_describe(leaves.get(name))} here"
        for name in sorted(arrays.keys() | leaves.keys())
        if _describe(arrays.get(name)) != _describe(leaves.get(name))
    ]
    if differences:
        more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise CheckpointError(
            f"The checkpoint {path} has another structure: {', '.join(differences[:3])}{more}. "
            "Nothing was changed. Continue with the versions of the program and its libraries that "
            "wrote it, or choose another directory."
        )
    stored = [jnp.array(arrays[name]) for name in leaves]  # copies: the loop donates its state
    return with_typed_keys(jax.tree.unflatten(jax.tree.structure(like), stored), like)


def _describe(array: Any) -> str:
    """An array's dtype and shape, as in "float32[2, 3]"; "missing" for None."""
    return "missing" if array is None else f"{array.dtype}{list(array.shape)}"


def _named_leaves(state: PyTree) -> dict[str, Any]:
    """The leaves by their paths, as in "params/w", in the order of `jax.tree.leaves`."""
    leaves = jax.tree_util.tree_leaves_with_path(without_typed_keys(state))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _is_typed_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


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
