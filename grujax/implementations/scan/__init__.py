"""The implementation "scan": the recurrence in pure JAX, time in chunks, with a hand-derived gradient."""

from grujax.implementations.scan.forward import (
    PASSES,
    backward_pass,
    forward_pass,
    pays_to_keep_gates,
    run,
)

__all__ = ["PASSES", "backward_pass", "forward_pass", "pays_to_keep_gates", "run"]
