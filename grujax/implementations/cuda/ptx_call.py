"""The launch inside XLA's program: the one thing here that no public interface of JAX offers.

XLA has a custom call that takes PTX, `__gpu$xla.gpu.ptx`, with the attributes below. It is not
documented and may change with any release. Who notices: `tests/.../test_ptx_call.py` compares what
JAX writes with what XLA reads, and compiles it where JAX's CUDA plugin is installed; on a GPU, the
self-test (`grujax.implementations.cuda.support`) runs it before its first use in a process, and if
that fails, the scan runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jax import Array

TARGET = "__gpu$xla.gpu.ptx"
# XLA compiled the call with these versions of JAX; it ran on a GPU with 0.11.2 only.
TRIED_WITH = ("0.10.2", "0.11.2", "0.12.0")


def call(
    name: str,
    ptx: str,
    blocks: int,
    threads: int,
    shared_bytes: int,
    operands: Sequence[Array],
    results: Sequence[jax.ShapeDtypeStruct],
) -> Sequence[Array]:
    """Launches the kernel `name` of some PTX, on the operands' buffers and the results'."""
    return jax.ffi.ffi_call(TARGET, results)(
        *operands,
        name=name,
        kernel_type="ptx",
        kernel_data=ptx,
        grid_x=np.int32(blocks),
        grid_y=np.int32(1),
        grid_z=np.int32(1),
        block_x=np.int32(threads),
        block_y=np.int32(1),
        block_z=np.int32(1),
        shared_mem_bytes=np.int32(shared_bytes),
    )
