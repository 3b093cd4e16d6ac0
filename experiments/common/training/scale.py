"""How a training runs: on how many devices, in how many pieces per batch, in which precision.

`Scale` holds the flags. Data parallelism is by annotation: parameters are replicated, the rows of
a batch are sharded, and XLA adds the communication that a mean over the batch needs. The loss is
that of the whole batch and dropout draws the same masks on one device as on eight, so the results
are equal up to rounding.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.common.flags import ScaleFlags
from experiments.common.training.processes import Processes, ScaleError

PyTree = Any
ROWS = "rows"  # the mesh's axis


@dataclass(frozen=True)
class Scale(Processes, ScaleFlags):
    """The devices of a training, its pieces per batch, and its precision."""

    def prepare(self) -> None:
        """Sets up JAX; call it before using JAX. Raises ScaleError for invalid flags."""
        for name in ("devices", "accumulate"):
            if getattr(self, name) < 1:
                raise ScaleError(f"--{name} must be at least 1, got {getattr(self, name)}.")
        if self.devices > 1:
            jax.config.update("jax_num_cpu_devices", self.devices)
        self.join()

    def mesh(self) -> Mesh | None:
        """The mesh of all devices; None for a single one. Raises ScaleError: too few devices."""
        if self.devices == 1 and jax.process_count() == 1:
            return None
        available = len(jax.local_devices())
        if available < self.devices:
            raise ScaleError(
                f"--devices {self.devices} asks for more devices than there are: {available} "
                f"({jax.local_devices()[0].platform})."
            )
        ordered = [
            device
            for process in range(jax.process_count())
            for device in jax.devices()
            if device.process_index == process
        ]
        per_process = np.array(ordered).reshape(jax.process_count(), -1)[:, : self.devices]
        return Mesh(per_process.ravel(), (ROWS,), axis_types=(AxisType.Auto,))

    def check(self, rows: int | None) -> None:
        """Raises ScaleError unless a batch of `rows` rows divides evenly."""
        if rows is None:
            return
        devices = self.devices * jax.process_count()
        if rows % (devices * self.accumulate):
            raise ScaleError(
                f"A batch of {rows} rows cannot be cut into {self.accumulate} equal pieces on "
                f"{devices} devices: `batch_size` must be a multiple of "
                f"{devices * self.accumulate}."
            )

    def settings(self) -> dict[str, Any]:
        """The flags that change a training's results by more than rounding, as JSON values."""
        flags = {"accumulate": self.accumulate, "dtype": self.dtype}
        defaults = {"accumulate": 1, "dtype": "float32"}
        return {name: value for name, value in flags.items() if value != defaults[name]}


ONE_DEVICE = Scale()
_scales = [ONE_DEVICE]


@contextmanager
def use_scale(scale: Scale) -> Iterator[None]:
    """Inside, trainings run at this scale."""
    _scales.append(scale)
    try:
        yield
    finally:
        _scales.pop()


def current_scale() -> Scale:
    """The scale set by `use_scale`; one device by default."""
    return _scales[-1]


def use_mesh(mesh: Mesh | None) -> AbstractContextManager[Any]:
    """Inside, `shard_rows` shards over this mesh."""
    return nullcontext() if mesh is None else jax.set_mesh(mesh)


def shard_rows(batch: PyTree, row_axes: PyTree = 0) -> PyTree:
    """Shards the rows of a batch over the devices, if there are several.

    Args:
      batch: a pytree of arrays.
      row_axes: the row axis of each array, None for an array without rows; a prefix of `batch`, as
        in `jax.vmap`.
    """
    if ROWS not in jax.sharding.get_abstract_mesh().shape:
        return batch

    def shard(axis: int | None, array: Array) -> Array:
        spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, ROWS)
        return jax.lax.with_sharding_constraint(array, spec)

    return map_rows(shard, row_axes, batch)


def count_rows(batch: PyTree, row_axes: PyTree = 0) -> int | None:
    """The number of rows of a batch, see `shard_rows`; None if it has no rows."""
    counts = map_rows(lambda axis, x: None if axis is None else x.shape[axis], row_axes, batch)
    return next(iter(jax.tree.leaves(counts)), None)


def round_up_rows(rows: int) -> int:
    """Rounds up to a number of rows that divides evenly over the devices."""
    devices = jax.sharding.get_abstract_mesh().shape.get(ROWS, 1)
    return -(-rows // devices) * devices


def replicate(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """Puts arrays, equal in every process, on every device."""
    return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def replicated_outputs(mesh: Mesh | None) -> dict[str, Any]:
    """The options of `jax.jit` that replicate its outputs."""
    return {} if mesh is None else {"out_shardings": NamedSharding(mesh, PartitionSpec())}


def local_copy(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """This process's copy of replicated arrays."""
    return tree if mesh is None else jax.tree.map(lambda x: x.addressable_data(0), tree)


def map_rows(
    function: Callable[[int | None, Array], Any], row_axes: PyTree, batch: PyTree
) -> PyTree:
    """Maps `function(row_axis, array)` over a batch, see `shard_rows`."""
    return jax.tree.map(
        lambda axis, part: jax.tree.map(lambda array: function(axis, array), part),
        row_axes,
        batch,
        is_leaf=lambda x: x is None,
    )
