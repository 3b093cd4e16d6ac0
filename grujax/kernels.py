"""`python -m grujax.kernels` builds the native CPU kernel; see `grujax.implementations.native`.

The names that this module exported in version 0.1 are deprecated.
"""

import sys
import warnings
from typing import Any

from grujax.implementations.native import __main__, building


def __getattr__(name: str) -> Any:
    if name not in ("KernelError", "build_and_load", "is_loaded"):
        raise AttributeError(f"module 'grujax.kernels' has no attribute {name!r}")
    warnings.warn(
        f"`grujax.kernels.{name}` is deprecated and will be removed in version 0.3.",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(building, name)


if __name__ == "__main__":
    sys.exit(__main__.main())
