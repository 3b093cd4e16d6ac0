"""The implementation "newton": all steps at once, by Newton's method."""

from grujax.implementations.newton.rules import MAX_ITERATIONS, RULES, choose_method, solve

__all__ = ["MAX_ITERATIONS", "RULES", "choose_method", "solve"]
