"""A training on more than one device, in smaller pieces, in half precision: the same training.

`Scale` holds the flags. Data parallelism is by annotation: parameters lie on every device, a
batch's rows are spread over them, and XLA adds what a mean over the batch needs. So a loss is that
of the whole batch, dropout draws the same masks on one device as on eight, and the results are the
same up to rounding.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.common.training.processes import Processes, ScaleError

PyTree = Any
ROWS = "rows"  # the mesh's axis


@dataclass(frozen=True)
class Scale(Processes):
    """On what a training runs, and in what pieces."""

    devices: int = 1  # of each process; a batch is spread over all of them
    accumulate: int = 1  # pieces of a batch whose gradients are added up: less memory
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computations; parameters: float32

    def prepare(self) -> None:
        """Sets up JAX; before it is first used. Raises ScaleError if that cannot be."""
        for name in ("devices", "accumulate"):
            if getattr(self, name) < 1:
                raise ScaleError(f"--{name} must be at least 1, got {getattr(self, name)}.")
        if self.devices > 1:
            jax.config.update("jax_num_cpu_devices", self.devices)
        self.join()

    def mesh(self) -> Mesh | None:
        """All devices that train together; None if it is one. Raises ScaleError: too few."""
        if self.devices == 1 and jax.process_count() == 1:
            return None
        own = len(jax.local_devices())
        if own < self.devices:
            raise ScaleError(
                f"--devices {self.devices} asks for more devices than there are: {own} "
                f"({jax.local_devices()[0].platform})."
            )
        chosen = [
            device
            for process in range(jax.process_count())
            for device in jax.devices()
            if device.process_index == process
        ]
        per_process = np.array(chosen).reshape(jax.process_count(), -1)[:, : self.devices]
        return Mesh(per_process.ravel(), (ROWS,), axis_types=(AxisType.Auto,))

    def check(self, rows: int | None) -> None:
        """Raises ScaleError unless batches of so many rows can be cut as these flags say."""
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
        """What of it changes a training's results by more than rounding, as JSON values."""
        changes = {"accumulate": self.accumulate, "dtype": self.dtype}
        usual = {"accumulate": 1, "dtype": "float32"}
        return {name: value for name, value in changes.items() if value != usual[name]}


ONE_DEVICE = Scale()
_in_force = [ONE_DEVICE]


@contextmanager
def using(scale: Scale) -> Iterator[None]:
    """Inside, trainings run at this scale."""
    _in_force.append(scale)
    try:
        yield
    finally:
        _in_force.pop()


def in_force() -> Scale:
    """The scale at which a training is to run: one device, unless `using` says otherwise."""
    return _in_force[-1]


def on(mesh: Mesh | None) -> AbstractContextManager[Any]:
    """Inside, `spread` spreads over this mesh."""
    return nullcontext() if mesh is None else jax.set_mesh(mesh)


def spread(batch: PyTree, row_axes: PyTree = 0) -> PyTree:
    """Spreads the rows of a batch over the devices, if there are several.

    Args:
      batch: a pytree of arrays.
      row_axes: along which axis of each array the rows lie, None where there are none; a prefix of
        `batch`, as `jax.vmap` takes it.
    """
    if ROWS not in jax.sharding.get_abstract_mesh().shape:
        return batch

    def one(axis: int | None, array: Array) -> Array:
        spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, ROWS)
        return jax.lax.with_sharding_constraint(array, spec)

    return map_rows(one, row_axes, batch)


def count_rows(batch: PyTree, row_axes: PyTree = 0) -> int | None:
    """How many rows a batch has, see `spread`; None if none."""
    counts = map_rows(lambda axis, x: None if axis is None else x.shape[axis], row_axes, batch)
    return next(iter(jax.tree.leaves(counts)), None)


def rounded_up(rows: int) -> int:
    """The least number of rows, from `rows` on, that can be spread evenly."""
    devices = jax.sharding.get_abstract_mesh().shape.get(ROWS, 1)
    return -(-rows // devices) * devices


def replicated(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """Puts arrays, equal in every process, on every device."""
    return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def results_on(mesh: Mesh | None) -> dict[str, Any]:
    """The options of `jax.jit` for results that shall lie on every device."""
    return {} if mesh is None else {"out_shardings": NamedSharding(mesh, PartitionSpec())}


def on_one_device(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """The own copy of what lies on every device."""
    return tree if mesh is None else jax.tree.map(lambda x: x.addressable_data(0), tree)


def map_rows(
    function: Callable[[int | None, Array], Any], row_axes: PyTree, batch: PyTree
) -> PyTree:
    """Applies a function of the axis of rows and the array, see `spread`."""
    return jax.tree.map(
        lambda axis, part: jax.tree.map(lambda array: function(axis, array), part),
        row_axes,
        batch,
        is_leaf=lambda x: x is None,
    )
