"""What the package needs of JAX beyond its public functions.

promotion     dtypes and ranks, promoted by hand
pytrees       classes of arrays: comparison by value, serialization in exported programs
computations  primitives whose equations hold what they compute
batching      models under `vmap`: on their own devices, and one after the other on a CPU
concrete      results that are known while a function is traced
lapack        LAPACK under `vmap`, where some versions of JAX deadlock
"""
