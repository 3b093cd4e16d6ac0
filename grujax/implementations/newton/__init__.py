"""The implementation "newton": all steps at once by Newton’s method."""

from grujax.implementations.newton.passes import (
    DENSE_UP_TO,
    MAX_ITERATIONS,
    choose_method,
    run,
    solve,
)

__all__ = ["DENSE_UP_TO", "MAX_ITERATIONS", "choose_method", "run", "solve"]
