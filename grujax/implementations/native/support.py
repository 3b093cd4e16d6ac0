"""What the native kernel can run, and when it is faster than the scan.

Each pass is a JAX primitive, whose lowering calls the kernel
(`grujax.implementations.primitive.lowering`). `grujax.implementations.scan.rules` derives the
gradient.

The batch is split across threads, and each thread computes its rows at all steps, so threads never
wait for each other inside a pass. Under `vmap` over parameters each thread computes whole models;
the two directions of a bidirectional layer are two models. Under `vmap` over data alone, the mapped
axis is one more batch axis.

None picks the scan for one model in these cases:

- fewer than 8 rows, which are not split, with more than 2 MB of recurrent weights (H > 418). One
  thread would read them from outside its own cache at every step; XLA splits every product across
  threads.
- a single step, T = 1.
- a short call: 1,024·T ≤ H² and T·B ≤ H. A call packs the weights, which costs time in proportion
  to H². It saves time at every step, and at every row.

With AVX-512, the last two hold for training alone: it packs the weights twice, for products with
them and with their transposes. A forward pass without derivatives was faster by the kernel at all
T ≤ 16, B ≤ 64 and H ≤ 256 that were measured (AMD Zen 5), up to twice.

Memory. Between the passes, the kernel keeps as much as the scan does, by the same rule. While a
pass runs, each thread needs about 128·(13·H + 3·I) floats for a time window, plus the sums of the
weights' gradients. There are two packed copies of the weights. XLA's memory analysis includes none
of these. Up to 64 MB of them are kept for the next call, as new pages would cost more time.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from grujax.implementations.library_cache import KernelError
from grujax.implementations.native import loading, processor
from grujax.params import GRUParams

DTYPES = ("float32", "bfloat16")
FEW_ROWS = 8
LARGE_WEIGHTS = 2 << 20  # bytes of float32
PACKED_PER_STEP = (
    1024  # entries of a recurrent matrix that are packed in the time that a step saves
)
SUPPORTS = f"computes in {' or '.join(DTYPES)}"


def supports(params: GRUParams, dtype: Any) -> bool:
    """Whether the kernel supports this dtype. It supports both reset forms and any size."""
    return jnp.dtype(dtype).name in DTYPES


def is_faster(models: int, steps: int, rows: int, units: int, is_training: bool) -> bool:
    """Whether the kernel is faster than the scan; see the module's docstring."""
    if models > 1:
        return True
    if rows < FEW_ROWS and 4 * 3 * units**2 > LARGE_WEIGHTS:
        return False
    if not is_training and processor.has_wide_vectors():
        return True
    is_short = PACKED_PER_STEP * steps <= units**2 and steps * rows <= units
    return steps > 1 and not is_short


def is_installed() -> bool:
    """Whether there is a library of the kernel that runs here. Compiles nothing, never raises."""
    return loading.is_loaded()


def require() -> None:
    """Builds the kernel if necessary; raises ValueError if it cannot run."""
    try:
        loading.load_or_build()
    except KernelError as error:
        raise ValueError(
            f'`implementation="native"` cannot run; "scan" and "plain" can. {error}'
        ) from error
