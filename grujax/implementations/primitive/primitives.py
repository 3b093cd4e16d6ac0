"""The two passes of the kernels as JAX primitives.

The operands are the leaves of a pass's arguments: `(args,)` forward, and `(residuals, d_last,
d_hs)` backward. The parameters are

    structure    the tree of the arguments
    is_batched   which leaves have a leading axis of models, a tuple
    batch        how many models there are, and their directions: `ModelBatch`
    keep_gates   whether the forward pass also returns the gates
    options      which kernels may run: `KernelOptions`

All results have a leading axis of models. The direction of a model is that of `batch`;
`args.reverse` in the structure is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Primitive

from grujax.implementations.types import RecurrenceArgs
from grujax.jax_support.computations import result_type

forward_p = Primitive("grujax_forward")
backward_p = Primitive("grujax_backward")


class KernelOptions(NamedTuple):
    """Which kernels may run, and how the caller holds arrays over time."""

    names: tuple[str, ...]  # at most one for each platform; the scan runs on the others
    batch_major: bool  # see `grujax.implementations.layout`
    is_named: bool = False  # whether the caller named the kernel: then no other may run


def args_of(primitive: Primitive, structure: Any, leaves: Sequence[Any]) -> RecurrenceArgs:
    """The arguments of the recurrence among the operands; the leaves may be of any type."""
    arguments = jax.tree.unflatten(structure, leaves)
    return arguments[0] if primitive is forward_p else arguments[0].args


def _result_shapes(primitive: Primitive, *avals: Any, **static: Any) -> list[Any]:
    of_model = [
        jax.ShapeDtypeStruct(aval.shape[1:] if has_axis else aval.shape, aval.dtype)
        for aval, has_axis in zip(avals, static["is_batched"], strict=True)
    ]
    args = args_of(primitive, static["structure"], of_model)
    results: list[Any]
    if primitive is forward_p:
        hs = jax.ShapeDtypeStruct((*args.xs.shape[:2], args.h0.shape[-1]), args.xs.dtype)
        gate = jax.ShapeDtypeStruct(hs.shape, jnp.float32)
        number = 4 if args.params.reset_after else 3
        results = [args.h0, hs, *[gate] * (number if static["keep_gates"] else 0)]
    else:
        results = jax.tree.leaves(args.primals)
    number = static["batch"].number
    return [result_type(avals, (number, *kind.shape), kind.dtype) for kind in results]


@cache
def _jitted(primitive: Primitive, static: Any) -> Any:
    return jax.jit(lambda *leaves: primitive.bind(*leaves, **dict(static)))


def _run(primitive: Primitive, *leaves: Array, **static: Any) -> Any:
    """Outside of `jit`: compiled all the same, also under `jax.disable_jit`."""
    with jax.disable_jit(False):
        return _jitted(primitive, tuple(sorted(static.items())))(*leaves)


for _primitive in (forward_p, backward_p):
    _primitive.multiple_results = True
    _primitive.def_impl(partial(_run, _primitive))
    _primitive.def_abstract_eval(partial(_result_shapes, _primitive))
