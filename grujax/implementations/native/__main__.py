"""Builds the native CPU kernel. From then on, `grujax.gru` uses it.

python -m grujax.kernels
"""

import sys
import time

from grujax.implementations.library_cache import KernelError
from grujax.implementations.native.building import build_and_load, find_library


def main() -> int:
    """Builds the kernel unless it is built, and prints where it is; returns the exit status."""
    is_built = find_library() is not None
    if not is_built:
        print("Compiling the native kernel for this processor, a few seconds.", flush=True)
    start = time.perf_counter()
    try:
        path = build_and_load()
    except KernelError as error:
        print(f"The native kernel cannot run, and grujax uses `lax.scan` instead. {error}")
        return 1
    seconds = time.perf_counter() - start
    what = "was already built" if is_built else f"took {seconds:.1f} s to build"
    print(f"The native kernel {what} and passes its self-test. grujax will use it: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
