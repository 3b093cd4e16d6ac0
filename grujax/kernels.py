"""The old name of `python -m grujax build`, which builds the native CPU kernel.

The names that this module exported in version 0.1 are deprecated.
"""

import sys
import warnings
from typing import Any

from grujax import __main__
from grujax.implementations import library_cache
from grujax.implementations.native import loading

_OLD = {
    "KernelError": library_cache.KernelError,
    "build_and_load": loading.load_or_build,
    "is_loaded": loading.is_loaded,
}


def __getattr__(name: str) -> Any:
    if name not in _OLD:
        raise AttributeError(f"module 'grujax.kernels' has no attribute {name!r}")
    warnings.warn(
        f"`grujax.kernels.{name}` is deprecated and will be removed in version 0.3.",
        DeprecationWarning,
        stacklevel=2,
    )
    return _OLD[name]


if __name__ == "__main__":
    sys.exit(__main__.main(["build"]))
