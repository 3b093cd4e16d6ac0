"""The implementation "scan": pure JAX, time in chunks, with a hand-derived gradient."""

from grujax.implementations.scan.rules import backward_pass, forward_pass, run

__all__ = ["backward_pass", "forward_pass", "run"]
