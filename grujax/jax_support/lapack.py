"""LAPACK under `vmap` on a CPU, where some versions of jaxlib wait for ever.

From jaxlib 0.10.0 to 0.11.0, a LAPACK call on a batch of matrices (QR, Cholesky, LU, eigenvalues,
triangular solves, …) cuts the batch into tasks for XLA's pool of threads, one thread per core, and
waits for them. The call itself occupies a thread of that pool. Where as many such calls run at once
as there are cores, every thread waits for tasks that no thread is left to run: nothing runs any
more, and `block_until_ready` never returns. On two cores two independent QRs under one `vmap` are
enough, such as those of the orthogonal weights of several models.

jax's commit bfd9e1f brought this, and commit 8599924 ended it. A single matrix is never cut, so
here a batch runs one matrix after the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial, wraps
from importlib.metadata import version
from math import prod
from typing import Any

import jax
from jax.extend import core

from grujax.checks import is_traced
from grujax.jax_support.batching import sequential_vmap_on_cpu

PRIMITIVES = {
    *("cholesky", "cholesky_update", "eig", "eigh", "geqp3", "geqrf", "hessenberg"),
    *("householder_product", "lu", "ormqr", "qr", "schur", "svd", "triangular_solve"),
    *("tridiagonal", "tridiagonal_solve"),
}


def deadlocks(jaxlib: str) -> bool:
    """Whether LAPACK calls on batches can wait for one another in this version of jaxlib."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", jaxlib)[:3])
    return (0, 10, 0) <= numbers < (0, 11, 1)


DEADLOCKS = deadlocks(version("jaxlib"))


def one_matrix_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which under `vmap` runs one element after the other if it calls LAPACK on a CPU.

    Elsewhere, and with a jaxlib that does not deadlock, this is `function`. Its derivatives are
    JAX's own, which take a batch as a whole.

    Args:
        function: a function of arrays; it may close over traced ones.
    """

    @wraps(function)
    def call(*arguments: Any) -> Any:
        if not DEADLOCKS or not any(map(is_traced, arguments)):
            return function(*arguments)
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)

        def run(constants: list[Any], *arguments: Any) -> list[Any]:
            return jax.core.eval_jaxpr(program.jaxpr, constants, *arguments)

        if not PRIMITIVES.isdisjoint(_names(program.jaxpr)):
            plain = run
            run = jax.custom_jvp(
                sequential_vmap_on_cpu(
                    plain,
                    lambda *operands: operands,
                    moves_to_devices=False,  # a program stays on the mesh on which it was traced
                )
            )
            run.defjvp(partial(jax.jvp, plain))
        return jax.tree.unflatten(jax.tree.structure(shapes), run(program.consts, *arguments))

    return call


def runs_on_batches(lowered: jax.stages.Lowered) -> bool:
    """Whether a program calls LAPACK on more than one matrix at once."""
    module: Any = lowered.compiler_ir("stablehlo")
    shapes = (
        [int(size) for size in sizes.split("x")[:-1]]
        for line in module.operation.get_asm(large_elements_limit=16).splitlines()
        if re.search("@(lapack|blas)_", line)
        for sizes in re.findall(r"tensor<((?:\d+x)+)(?:f|complex)", line)
    )
    return any(prod(shape[:-2]) > 1 for shape in shapes)


def _names(jaxpr: core.Jaxpr) -> Iterator[str]:
    """The names of all operations of a program."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
    for inner in core.subjaxprs(jaxpr):
        yield from _names(inner)
