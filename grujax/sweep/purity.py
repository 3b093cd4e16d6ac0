"""Whether a user's function keeps its contract: found out by tracing it, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

Train = Callable[..., dict[str, Array]]
Metrics = dict[str, Array]

_KEPT = (
    "`{name}` is not pure: a traced value was kept outside of the function that computed it, and "
    "used elsewhere. Everything that a function needs must come from its arguments or be constant, "
    "and everything that it computes must be returned."
)


def with_checked_metrics(train: Train, fixed: dict[str, Any]) -> Callable[[Array, dict], Metrics]:
    """`(key, values) -> metrics`, with static values filled in and the metrics as plain arrays."""

    def call(key: Array, values: dict[str, Array]) -> Metrics:
        metrics = train(key, **values, **fixed)
        if not isinstance(metrics, dict) or not metrics:
            raise ValueError(
                "`train` must return a dict of metrics with at least one entry, got "
                f"{type(metrics).__name__}."
            )
        return {name: _as_array(name, value) for name, value in metrics.items()}

    return call


def check_pure(call: Callable[..., Any], *arguments: Any, name: str, advice: str) -> Any:
    """Traces a user's function twice. Returns: the shapes and dtypes of its results.

    Args:
        call: the function.
        *arguments: arrays, or their shapes and dtypes.
        name: what an error calls the function.
        advice: a note for errors from tracing, where Python needs a value that is traced.

    Raises:
        ValueError: the function is not pure (what it computes depends on more than its arguments),
            or returns what is no array.
    """
    try:
        # A new function each time, or JAX would not trace it again.
        first, shapes = jax.make_jaxpr(lambda *a: call(*a), return_shape=True)(*arguments)
        second = jax.make_jaxpr(lambda *a: call(*a))(*arguments)
    except jax.errors.UnexpectedTracerError as error:
        raise ValueError(_KEPT.format(name=name)) from error
    except (TypeError, jax.errors.JAXTypeError) as error:
        error.add_note(advice)
        raise
    if any(isinstance(constant, jax.core.Tracer) for constant in (*first.consts, *second.consts)):
        raise ValueError(_KEPT.format(name=name))
    if not _same(first, second):
        raise ValueError(
            f"`{name}` is not pure: called twice with the same arguments it computes two different "
            "things. Draw random numbers from its `key` alone, and depend on nothing that changes "
            "between calls."
        )
    return shapes


def _as_array(name: str, value: Any) -> Array:
    if isinstance(value, (bool, int, float, complex, np.ndarray, np.generic, Array)):
        array = jnp.asarray(value)
        numeric = jnp.issubdtype(array.dtype, jnp.number)
        if numeric or array.dtype == jnp.bool_:
            if jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4:
                return array.astype(jnp.float32)  # NumPy's files have no bfloat16
            return array
    raise ValueError(
        f"`train` must return a dict of arrays, scalars or curves, but its entry `{name}` is "
        f"{type(value).__name__} {value!r}."
    )


def _same(first: core.ClosedJaxpr, second: core.ClosedJaxpr) -> bool:
    if list(_steps(first.jaxpr)) != list(_steps(second.jaxpr)):
        return False
    if len(first.consts) != len(second.consts):
        return False
    return all(map(_same_constant, first.consts, second.consts))


def _steps(jaxpr: core.Jaxpr) -> Iterator[tuple]:
    """Each operation of a program with its literal operands and the types of its results."""
    for eqn in jaxpr.eqns:
        literals = [repr(v.val) for v in eqn.invars if isinstance(v, core.Literal)]
        yield eqn.primitive.name, literals, [str(v.aval) for v in eqn.outvars]
        for inner in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda x: isinstance(x, core.Jaxpr)
        ):
            if isinstance(inner, core.ClosedJaxpr):
                yield from _steps(inner.jaxpr)
            elif isinstance(inner, core.Jaxpr):
                yield from _steps(inner)


def _same_constant(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if jax.dtypes.issubdtype(jnp.asarray(a).dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
