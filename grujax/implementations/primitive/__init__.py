"""What the kernels share: JAX primitives, and their rules for lowering, vmap and sharding."""
