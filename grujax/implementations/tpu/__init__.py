"""The implementation "tpu": Pallas kernels for TPUs."""

from grujax.implementations.tpu.passes import (
    MOST_HIDDEN,
    SUPPORTS,
    backward_pass,
    check,
    forward_pass,
    may_run,
    takes,
)

__all__ = ["MOST_HIDDEN", "SUPPORTS", "backward_pass", "check", "forward_pass", "may_run", "takes"]
