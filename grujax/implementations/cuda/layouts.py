"""How the CUDA kernel spreads units and rows over a GPU, and for which sizes it can."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from grujax.implementations.cuda.devices import Device
from grujax.params import GRUParams


class Layout(NamedTuple):
    """How units and rows are spread over a GPU; see `src/`."""

    units: int  # H, padded
    cluster: int
    threads: int
    forward_lanes: int = 0  # 0: tensor cores
    backward_lanes: int = 0
    resident: int = 1  # blocks that fit into the registers of a multiprocessor
    most_rows: int = 16  # per cluster; more would not fit into the registers
    rows: int = 1

    def definitions(self) -> dict[str, int]:
        """The macros that `gru.cu` is compiled with."""
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
        """Whether the products run on tensor cores."""
        return self.forward_lanes == 0

    def shared_bytes(self, operand: int) -> int:
        """Two messages of `operand` numbers per row, with a gap after each row."""
        units_of_warp = self.units // self.cluster * 32 // self.threads
        words = operand // 2 + 4 if self.is_tensor else operand + units_of_warp
        return 2 * self.rows * words * 4


LAYOUTS = {
    "float32": (
        Layout(32, 1, 64, 8, 8, resident=4),
        Layout(64, 1, 128, 4, 8, resident=2, most_rows=8),
        Layout(128, 1, 256, 4, 16, most_rows=4),
        Layout(256, 8, 256, 16, 32),
    ),
    "bfloat16": (
        Layout(32, 1, 64, 8, 8, resident=4),
        Layout(64, 1, 128, 4, 8, resident=2, most_rows=8),
        Layout(128, 1, 256, 4, 16, most_rows=4),
        Layout(256, 4, 256),
        Layout(512, 8, 256),
    ),
}


# By dtype: registers hold the recurrent weights of this many units.
MOST_HIDDEN = {dtype: layouts[-1].units for dtype, layouts in LAYOUTS.items()}


def supports(params: GRUParams, dtype: Any) -> bool:
    """Whether the kernel runs in this dtype and holds this hidden size, on some GPU."""
    return params.hidden_size <= MOST_HIDDEN.get(jnp.dtype(dtype).name, 0)


def most_hidden(device: Device, dtype: Any) -> int:
    """The most units that the kernel holds on this device."""
    return _layouts_of(device, dtype)[-1].units


def choose_layout(device: Device, dtype: Any, units: int, rows: int, models: int) -> Layout:
    """With the smallest tiles of rows for which all clusters run at once, if there are such."""
    layout = next(layout for layout in _layouts_of(device, dtype) if units <= layout.units)
    blocks = device.multiprocessors * layout.resident
    tile = 1
    while tile < layout.most_rows and models * -(-rows // tile) * layout.cluster > blocks:
        tile *= 2
    return layout._replace(rows=tile)


def _layouts_of(device: Device, dtype: Any) -> list[Layout]:
    """Those of one block per cluster, and the others if the device has clusters."""
    layouts = LAYOUTS[jnp.dtype(dtype).name]
    return [layout for layout in layouts if layout.cluster == 1 or device.has_clusters]
