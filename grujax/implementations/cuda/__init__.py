"""The implementation "cuda": one CUDA kernel per pass for NVIDIA GPUs; sources in `src/`."""

from grujax.implementations.cuda.support import SUPPORTS, can_run, check, may_run, takes

__all__ = ["SUPPORTS", "can_run", "check", "may_run", "takes"]
