"""Arrays on a mesh of devices: how each device runs its own rows, see `grujax.meshes.arrays`."""

from grujax.meshes.arrays import (
    RowSharding,
    as_gradient,
    gather,
    key_of_device,
    map_rows,
    reshape,
    row_sharding,
    run_own_rows,
    scan,
    stack,
    vary_alike,
)

__all__ = [
    "RowSharding",
    "as_gradient",
    "gather",
    "key_of_device",
    "map_rows",
    "reshape",
    "row_sharding",
    "run_own_rows",
    "scan",
    "stack",
    "vary_alike",
]
