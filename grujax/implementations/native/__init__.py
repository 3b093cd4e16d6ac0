"""The implementation "native": C++ kernels for CPUs; sources in `src/`."""

from grujax.implementations.native.support import SUPPORTS, check, may_run, pays, takes

__all__ = ["SUPPORTS", "check", "may_run", "pays", "takes"]
