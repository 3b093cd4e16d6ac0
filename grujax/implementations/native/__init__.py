"""The implementation "native": C++ kernels for CPUs; sources in `src/`."""

from grujax.implementations.native.support import (
    SUPPORTS,
    is_faster,
    is_installed,
    require,
    supports,
)

__all__ = ["SUPPORTS", "is_faster", "is_installed", "require", "supports"]
