"""What the package needs of JAX beyond its public functions.

promotion  dtypes and ranks, promoted by hand
pytrees    classes of arrays: comparison by value, serialization in exported programs
batching   models one after the other under `vmap` on a CPU
lapack     LAPACK under `vmap`, where some versions of JAX deadlock
"""
