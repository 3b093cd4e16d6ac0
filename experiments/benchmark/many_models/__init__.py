"""Many models at once: gradients under one `jax.vmap` (`vmap.py`), whole sweeps (`sweeps.py`)."""
