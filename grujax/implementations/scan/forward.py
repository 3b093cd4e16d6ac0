"""The forward pass of the scan.

Time is split into chunks of K steps. A chunk's inputs are projected by three matmuls, one per gate
(slicing a packed `[.., 3H]` projection inside the loop would defeat XLA's CPU vectorizer). Then a
step is one matmul with the packed recurrent weights, and the gates.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from grujax.cell import update_state
from grujax.implementations.gates import make_gates_fn, project_steps
from grujax.implementations.scan.chunks import split_time
from grujax.implementations.types import Outputs, RecurrenceArgs, zero_invalid
from grujax.jax_support.promotion import wide_dtype


def forward(args: RecurrenceArgs, *, keep_gates: bool) -> Outputs:
    """`h_last [B, H]`, `hs [T, B, H]`, and the gates if `keep_gates`, for one batch axis."""
    masks, h0 = args.masks, args.h0
    steps, batch, _ = args.xs.shape
    chunks = split_time(steps, batch, args.reverse)
    gates_fn = make_gates_fn(args.params, is_single=steps == 1)

    def step(h: Array, inputs: Any) -> tuple[Array, Any]:
        projected, valid, restart = inputs
        if restart is not None:
            h = jnp.where(restart[:, None], args.reset_state, h)
        gates = gates_fn(masks.apply_recurrent_dropout(h), projected)
        h = update_state(masks.apply_zoneout(gates.update), gates.candidate, h)
        return h, (zero_invalid(valid, h), gates if keep_gates else None)

    def run_chunk(index: Array, carry: Any) -> Any:
        h, outputs = carry
        chunk = chunks.slice_args(index, args)
        inputs = (project_steps(chunk), chunk.masks.valid, chunk.masks.restart)
        h, outputs_of_chunk = lax.scan(step, h, inputs, reverse=args.reverse)
        return h, chunks.write_steps(index, outputs, outputs_of_chunk)

    wide = h0.astype(wide_dtype(h0.dtype))
    gates = jax.eval_shape(gates_fn, h0, (wide, wide, wide)) if keep_gates else None
    outputs = jax.tree.map(
        lambda a: jnp.zeros_like(h0, a.dtype, shape=(steps, *a.shape)), (h0, gates)
    )
    h_last, (hs, gates) = chunks.fold(run_chunk, (h0, outputs))
    return h_last, hs, gates
