"""The recurrence in C++ on CPUs (sources in `src/`), and the scan wherever that cannot run or pay.

Each pass is a primitive of JAX (`implementations.primitive.lowering`), and how it runs falls in
its lowering. The derivation of the gradient stands in `grujax.implementations.scan.rules`.

Threads take rows of the batch, each over all time, so that no thread ever waits for another inside
a step. Under `vmap` over parameters each takes whole models, and so do the two directions of a
bidirectional layer; under `vmap` over data alone, the mapped axis is one more axis of the batch.

Fewer than 8 rows of one model are not split, and with more than 2 MB of recurrent weights, H > 418,
one thread would read them from beyond its own cache at every step. XLA shares out each product and
is faster there: the scan runs.

Memory. Between the two passes as much as the scan keeps, by the same rule. While a pass runs, each
thread has about 128·(13·H + 3·I) floats for a chunk of time and the sums of its weights' gradients,
and there are two packed copies of the weights; XLA's memory analysis sees none of these.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from grujax.implementations.library_cache import KernelError
from grujax.implementations.native import building
from grujax.params import GRUParams

DTYPES = ("float32", "bfloat16")
FEW_ROWS = 8
LARGE_WEIGHTS = 2 << 20  # bytes of float32
SUPPORTS = f"computes in {' or '.join(DTYPES)}"


def supports(params: GRUParams, dtype: Any) -> bool:
    """Whether the kernel has this dtype; it has both reset forms and any size."""
    return jnp.dtype(dtype).name in DTYPES


def is_faster(models: int, rows: int, units: int) -> bool:
    """Whether it is the faster: see the module's docstring."""
    return models > 1 or rows >= FEW_ROWS or 4 * 3 * units**2 <= LARGE_WEIGHTS


def is_installed() -> bool:
    """Whether the kernel was built before. Compiles nothing."""
    return building.is_loaded()


def require() -> None:
    """Builds the kernel if it is not built; raises ValueError if it cannot run."""
    try:
        building.build_and_load()
    except KernelError as error:
        raise ValueError(
            f'`implementation="native"` cannot run; "scan" and "plain" can. {error}'
        ) from error
