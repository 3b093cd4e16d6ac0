"""The implementation "cuda": one kernel per pass for NVIDIA GPUs; sources in `src/`."""

from grujax.implementations.cuda.devices import target
from grujax.implementations.cuda.layouts import supports
from grujax.implementations.cuda.rules import backward, forward
from grujax.implementations.cuda.support import (
    SUPPORTS,
    passes_self_test,
    require,
    why_too_large,
)

__all__ = [
    "SUPPORTS",
    "backward",
    "forward",
    "passes_self_test",
    "require",
    "supports",
    "target",
    "why_too_large",
]
