"""The recurrence as one Pallas kernel per pass, for TPUs.

XLA computes what does not depend on the state as matmuls over all steps: the projection of the
inputs before the kernel, the gradients of weights and inputs after it, and the gates between the
passes where they were not saved. In the kernel a step multiplies the state by the recurrent
weights and evaluates the gates; backward, it multiplies the gradients of the gates by these
weights. State, adjoint and recurrent weights stay on the chip. The gradient is derived in
`grujax.implementations.scan.rules`.

As in the scan, +inf in the update gate's projection carries the state where a step is not valid or
zoneout keeps a unit.

Precision. Matmuls keep all bits of float32, which a TPU by default rounds to bfloat16. In bfloat16
the operands of matmuls, gradients of gates included, are bfloat16 and sums are float32; gates and
the adjoint are float32, as everywhere.

Memory. What is saved from forward to backward is as for the scan. While a pass runs, it takes
besides inputs, outputs and what was saved, in numbers of float32, by XLA's analysis for T = 64,
B = 256 and H = 512:

    forward     3·T·B·H, the projections
    backward    12·T·B·H, of which 4 are the gates' gradients; 17·T·B·H where gates are recomputed

These temporaries are for the whole sequence, where the scan's are for a chunk.

Limits. VMEM, the memory of the chip, holds the recurrent weights of up to `MOST_HIDDEN` units. XLA
does not partition such kernels: in a `jit` over several devices the scan runs, unless the call is
inside `jax.shard_map`.

The kernels are compiled for TPU v5e and v6e without a device, and have never run on one. So they
run only by name.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from grujax.params import GRUParams

# By dtype: the weights then take 48 MiB of the 128 MiB of VMEM of a TPU v5e or v6e.
MOST_HIDDEN = {"float32": 2048, "bfloat16": 2816}
SUPPORTS = "computes in " + " and ".join(
    f"{dtype} with H ≤ {units}" for dtype, units in MOST_HIDDEN.items()
)


def supports(params: GRUParams, dtype: DTypeLike) -> bool:
    """Whether the kernels run in this dtype and hold this hidden size."""
    return params.hidden_size <= MOST_HIDDEN.get(jnp.dtype(dtype).name, 0)


def require() -> None:
    """Raises ValueError if this process has no TPU."""
    try:
        jax.local_devices(backend="tpu")
    except RuntimeError:
        raise ValueError(
            '`implementation="tpu"` cannot run; "scan" and "plain" can. This process has no TPU.'
        ) from None
