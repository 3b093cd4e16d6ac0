"""The implementation "native": C++ kernels for CPUs.

`support.py` says what the kernel can run and when it is faster. `loading.py` finds a library and
opens it: one that `building.py` made for this machine, or one of the wheel. `compiling.py` compiles
both kinds; `processor.py` says what this machine has. The sources in `src/`, in reading order:

    simd.h              AVX-512, AVX2, SSE and NEON vectors, sigmoid and tanh
    bfloat16.h          products of bfloat16, in vectors or in tiles
    product.h           the inner loop of every matmul
    layer.h             sizes and arrays of one model's layer
    gru.h               both passes over all models, and their arguments
    gates.h, gates.cpp  the equations of the gates, for any number of rows
    forward.cpp         the forward pass: some rows of a layer, at all steps
    backward.cpp        the backward pass of the same rows
    deltas.h            gradients of the gates, and their products with the weights
    weight_gradients.h  gradients of the weights, summed over rows
    weights.h           the weights as the matmuls read them
    time_window.h       the inputs of some steps, copied into contiguous memory
    parallel.h          how the batch is split into tasks, and how threads share these
    memory.h            scratch memory
    self_test.h         a reference in double precision, which the kernel is checked against
    xla_ffi.cpp         what XLA calls
    glibc.cpp           two symbols that old systems lack
    exports.map         the symbols that are visible
"""

from grujax.implementations.native.support import (
    SUPPORTS,
    is_faster,
    is_installed,
    require,
    supports,
)

__all__ = ["SUPPORTS", "is_faster", "is_installed", "require", "supports"]
