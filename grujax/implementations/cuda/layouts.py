"""How the CUDA kernel spreads units and rows over a GPU, and for which sizes it can."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from grujax.params import GRUParams

MULTIPROCESSORS = 132  # of an H100: how many blocks run at once
MOST_ROWS = 16  # per cluster


class Layout(NamedTuple):
    """How units and rows are spread over a GPU; see `src/`."""

    units: int  # H, padded
    cluster: int
    threads: int
    forward_lanes: int = 0  # 0: tensor cores
    backward_lanes: int = 0
    resident: int = 1  # blocks that fit into the registers of a multiprocessor
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


# By dtype: registers hold the recurrent weights of this many units.
MOST_HIDDEN = {dtype: layouts[-1].units for dtype, layouts in LAYOUTS.items()}


def supports(params: GRUParams, dtype: Any) -> bool:
    """Whether the kernel runs in this dtype and holds this hidden size."""
    return params.hidden_size <= MOST_HIDDEN.get(jnp.dtype(dtype).name, 0)


def choose_layout(dtype: Any, units: int, rows: int, models: int) -> Layout:
    """With the smallest tiles of rows for which all clusters run at once, if there are such."""
    layouts = LAYOUTS[jnp.dtype(dtype).name]
    layout = next(layout for layout in layouts if units <= layout.units)
    blocks = MULTIPROCESSORS * layout.resident
    tile = 1
    while tile < MOST_ROWS and models * -(-rows // tile) * layout.cluster > blocks:
        tile *= 2
    return layout._replace(rows=tile)
