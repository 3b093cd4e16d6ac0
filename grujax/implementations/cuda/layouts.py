"""How the CUDA kernel's units and rows lie on the chip, and what it has layouts for."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from grujax.params import GRUParams

MULTIPROCESSORS = 132  # of an H100: how many blocks run at once
MOST_ROWS = 16  # of a cluster


class Layout(NamedTuple):
    """How units and rows lie on the chip: see `gru.cu`."""

    units: int  # H, padded
    cluster: int
    threads: int
    forward_lanes: int = 0  # 0 with the tensor cores
    backward_lanes: int = 0
    resident: int = 1  # blocks that a multiprocessor's registers hold
    rows: int = 1

    def definitions(self) -> dict[str, int]:
        return {
            "HIDDEN": self.units,
            "CLUSTER": self.cluster,
            "THREADS": self.threads,
            "FORWARD_LANES": self.forward_lanes,
            "BACKWARD_LANES": self.backward_lanes,
            "ROWS": self.rows,
            "TENSOR": int(self.is_tensor),
        }

    @property
    def is_tensor(self) -> bool:
        """Whether the products are the tensor cores'."""
        return self.forward_lanes == 0

    def shared_bytes(self, operand: int) -> int:
        """Two messages of `operand` numbers a row, with a gap after each row."""
        units_of_warp = self.units // self.cluster * 32 // self.threads
        words = operand // 2 + 4 if self.is_tensor else operand + units_of_warp
        return 2 * self.rows * words * 4


LAYOUTS = {
    "float32": (
        Layout(32, 1, 64, 8, 8, resident=4),
        Layout(64, 1, 128, 4, 8, resident=2),
        Layout(128, 1, 256, 4, 16),
        Layout(256, 8, 256, 16, 32),
    ),
    "bfloat16": (
        Layout(32, 1, 64, 8, 8, resident=4),
        Layout(64, 1, 128, 4, 8, resident=2),
        Layout(128, 1, 256, 4, 16),
        Layout(256, 4, 256),
        Layout(512, 8, 256),
    ),
}


UNITS = {dtype: layouts[-1].units for dtype, layouts in LAYOUTS.items()}  # what registers hold


def takes(params: GRUParams, dtype: Any) -> bool:
    """Whether the kernel has this dtype and number of units."""
    return params.hidden_size <= UNITS.get(jnp.dtype(dtype).name, 0)


def choose_layout(dtype: Any, units: int, rows: int, models: int) -> Layout:
    """The smallest tiles of rows with which all clusters run at once, if there are such."""
    layouts = LAYOUTS[jnp.dtype(dtype).name]
    layout = next(layout for layout in layouts if units <= layout.units)
    blocks = MULTIPROCESSORS * layout.resident
    tile = 1
    while tile < MOST_ROWS and models * -(-rows // tile) * layout.cluster > blocks:
        tile *= 2
    return layout._replace(rows=tile)
