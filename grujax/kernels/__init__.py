"""The kernels: C++ for CPUs and CUDA C++ for GPUs, compiled on the machine they run on.

For CPUs:

    gru.cpp        what XLA calls, through the headers that come with jaxlib
    gru.h          both passes of all models, and their arguments
    plan.h         which thread computes which rows of which model
    forward.cpp    some rows of a layer over all time
    backward.cpp   their gradient, against the walk
    evaluate.cpp   the gates of any number of rows
    weight_sums.h  the gradients of the weights
    layer.h        a layer's arrays, and its weights as the tiles read them
    chunk.h        some steps of some rows, copied side by side
    parallel.h     tasks on several threads
    vectors.h      vectors, sigmoid and tanh, and the one tile that multiplies matrices
    self_test.h    the same in double precision, which the kernel is compared with when it is loaded

`python -m grujax.kernels` builds it; `grujax.kernels.building` says where it is kept.

For NVIDIA GPUs `gru.cu`, both passes in one file, which `grujax.kernels.nvrtc` compiles.
"""

from grujax.kernels.building import KernelError, build_and_load, is_loaded

__all__ = ["KernelError", "build_and_load", "is_loaded"]
