"""The implementation "cuda": one kernel per pass for NVIDIA GPUs; sources in `src/`."""

from grujax.implementations.cuda.layouts import supports
from grujax.implementations.cuda.rules import backward, forward
from grujax.implementations.cuda.support import SUPPORTS, passes_self_test, require

__all__ = ["SUPPORTS", "backward", "forward", "passes_self_test", "require", "supports"]
