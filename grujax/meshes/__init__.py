"""Arrays on a mesh of devices: how each device runs its own rows, see `grujax.meshes.arrays`."""

from grujax.meshes.arrays import (
    RowSharding,
    gather,
    row_sharding,
    run_own_rows,
    scan,
    stack,
    vary_alike,
)

__all__ = ["RowSharding", "gather", "row_sharding", "run_own_rows", "scan", "stack", "vary_alike"]
