"""Builds the native CPU kernel, so that `grujax.gru` uses it from then on.

python -m grujax.kernels
"""

import sys
import time

from grujax.implementations.native.building import KernelError, build_and_load, find_library


def main() -> int:
    existed = find_library() is not None
    if not existed:
        print("Compiling the GRU's kernel for this processor: a few seconds.", flush=True)
    start = time.perf_counter()
    try:
        path = build_and_load()
    except KernelError as error:
        print(f"The native kernel cannot run; grujax runs its scan instead. {error}")
        return 1
    what = "was there" if existed else f"took {time.perf_counter() - start:.1f} s"
    print(f"The kernel {what}, passes its self-test, and is used from now on: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
