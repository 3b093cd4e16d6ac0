"""The implementation "tpu": one Pallas kernel per pass for TPUs."""

from grujax.implementations.tpu.rules import backward_pass, forward_pass
from grujax.implementations.tpu.support import MOST_HIDDEN, SUPPORTS, require, supports

__all__ = ["MOST_HIDDEN", "SUPPORTS", "backward_pass", "forward_pass", "require", "supports"]
