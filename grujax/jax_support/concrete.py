"""Results that are known while a function is traced."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
from jax.sharding import AbstractMesh, use_abstract_mesh


@contextmanager
def compute_now() -> Iterator[None]:
    """Inside, constants are computed at once, as if no `jit`, `vmap` or `shard_map` were around.

    `jax.ensure_compile_time_eval` alone keeps the mesh of the surrounding function, whose manual
    axes the program of a constant does not have.
    """
    with jax.ensure_compile_time_eval(), use_abstract_mesh(AbstractMesh((), ())):
        yield
