"""The implementation "scan": pure JAX, time in chunks, with a hand-derived gradient."""

from grujax.implementations.scan.rules import RULES, backward_pass, forward_pass, tangent_pass

__all__ = ["RULES", "backward_pass", "forward_pass", "tangent_pass"]
