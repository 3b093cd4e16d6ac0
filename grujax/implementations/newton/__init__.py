"""The implementation "newton": all steps at once, by Newton's method."""

from grujax.implementations.newton.rules import MAX_ITERATIONS, choose_method, run, solve

__all__ = ["MAX_ITERATIONS", "choose_method", "run", "solve"]
