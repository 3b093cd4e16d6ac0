"""What the native kernel can run, and when it is faster than the scan.

Each pass is a JAX primitive, whose lowering calls the kernel
(`grujax.implementations.primitive.lowering`). `grujax.implementations.scan.rules` derives the
gradient.

The batch is split across threads, and each thread computes its rows at all steps, so threads never
wait for each other inside a pass. In the forward pass of few rows with large weights (H ≥ 210) the
units are split instead, and the threads wait for each other at every step: each one then reads only
its part of the weights, from its own cache. Under `vmap` over parameters each thread computes whole
models; the two directions of a bidirectional layer are two models. Under `vmap` over data alone,
the mapped axis is one more batch axis.

A call packs the weights, unless it reads them at most four times, as a single step of up to 32 rows
does. Then it reads float32 weights where they are, if H is a multiple of the vector length. The
backward pass always packs their transposes.

With AVX-512, None picks the kernel for one model but in these cases:

- a training step of fewer than 8 rows with more than 2 MB of recurrent weights (H > 418). In the
  backward pass one thread reads them all at every step; XLA splits every product across threads.
- a training step with T = 1, where both are equally fast.

On other processors, None also picks the scan in these cases:

- a forward pass of fewer than 8 rows with H > 418, or with T = 1;
- a short call, of training or not: 1,024·T ≤ H² and T·B ≤ H. To pack the weights costs time in
  proportion to H². It saves time at every step, and at every row.

Memory. Between the passes, the kernel keeps as much as the scan does, by the same rule. While a
pass runs, each thread needs about 128·(13·H + 3·I) floats for a time window, plus the sums of the
weights' gradients. There are at most two packed copies of the weights. XLA's memory analysis
includes none of these. Up to 64 MB of them are kept for the next call, as new pages would cost more
time.
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
    has_wide_vectors = processor.has_wide_vectors()
    if has_wide_vectors and not is_training:
        return True
    reads_too_much = rows < FEW_ROWS and 4 * 3 * units**2 > LARGE_WEIGHTS
    is_short = PACKED_PER_STEP * steps <= units**2 and steps * rows <= units
    return steps > 1 and not reads_too_much and (has_wide_vectors or not is_short)


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
