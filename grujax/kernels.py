"""`python -m grujax.kernels` builds the native CPU kernel; the code is in `implementations/native`.

The names that this module had in version 0.1 are deprecated.
"""

import sys
import warnings

from grujax.implementations.native import __main__, building


def __getattr__(name: str):
    if name in ("KernelError", "build_and_load", "is_loaded"):
        warnings.warn(
            f"`grujax.kernels.{name}` has moved to `grujax.implementations.native.building`, and "
            "will be removed in version 0.3.",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(building, name)
    raise AttributeError(f"module 'grujax.kernels' has no attribute {name!r}")


if __name__ == "__main__":
    sys.exit(__main__.main())
