"""What the kernels share: the JAX primitives of the two passes, and their rules.

`primitives.py` defines the primitives, `lowering.py` picks the kernel or the scan, `vmap.py` and
`sharding.py` are the rules for batching and meshes, and `rules.py` makes `VJPRules` of them all.
"""

from grujax.implementations.primitive.primitives import KernelOptions
from grujax.implementations.primitive.rules import make_rules

__all__ = ["KernelOptions", "make_rules"]
