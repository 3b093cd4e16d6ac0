"""What the user's functions must be and return, checked by tracing them before anything runs.

They must be pure, `train` and `evaluate` must return dicts of metrics, and a state must be a pytree
of arrays that keeps its shapes and dtypes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from grujax.checks import check_callable, is_traced
from grujax.sweep.plan import is_typed_key

Metrics = dict[str, Array]
Train = Callable[..., Metrics]
State = Any  # a pytree of arrays

_LEAKED = (
    "`{name}` is not pure: a traced value was kept outside of the function that computed it, and "
    "used elsewhere. Everything that a function needs must come from its arguments or be constant, "
    "and everything that it computes must be returned."
)


def check_pure(call: Callable[..., Any], *arguments: Any, name: str, advice: str) -> Any:
    """Traces a user's function twice and compares. Returns: the shapes and dtypes of its results.

    Args:
        call: the function.
        *arguments: arrays, or their shapes and dtypes.
        name: the name of the function in error messages.
        advice: a note added to errors from tracing, such as Python branching on a traced value.

    Raises:
        ValueError: the function is not pure: its result depends on more than its arguments.
    """
    try:
        # A new function each time, or JAX would not trace it again.
        first, shapes = jax.make_jaxpr(lambda *a: call(*a), return_shape=True)(*arguments)
        second = jax.make_jaxpr(lambda *a: call(*a))(*arguments)
    except jax.errors.UnexpectedTracerError as error:
        raise ValueError(_LEAKED.format(name=name)) from error
    except (TypeError, jax.errors.JAXTypeError) as error:
        error.add_note(advice)
        raise
    if any(is_traced(one) for of in (first, second) for one in constants_of(of)):
        raise ValueError(_LEAKED.format(name=name))
    if not _is_same_program(first, second):
        raise ValueError(
            f"`{name}` is not pure: called twice with the same arguments it computes two different "
            "things. Draw random numbers from its `key` alone, and depend on nothing that changes "
            "between calls."
        )
    return shapes


def check_takes(
    name: str, function: Any, arguments: tuple[str, ...], hyperparameters: Iterable[str] = ()
) -> None:
    """Raises ValueError unless it is a function that takes these arguments.

    Args:
        name: of the function in error messages.
        function: the user's function.
        arguments: those that it is given by position.
        hyperparameters: those that it is given by name.
    """
    names = list(hyperparameters)
    call = f"({', '.join([*arguments, *(f'{each}=...' for each in names)])})"
    check_callable(name, function, f"{name.partition('[')[0]}{call}")
    try:
        inspect.signature(function).bind(*arguments, **dict.fromkeys(names))
    except NameError:  # Python 3.14 evaluates annotations, and some exist for type checkers only
        pass
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` cannot be called with {call}: {error}.") from None


def check_metrics(metrics: Any, name: str, *, scalars: bool = False) -> Metrics:
    """Metrics as arrays, without weak types.

    Args:
        metrics: the value returned by the function `name`.
        name: `train` or `evaluate`, for error messages.
        scalars: require real scalars.

    Raises:
        ValueError: it is not a dict of such arrays, or is empty.
    """
    if not isinstance(metrics, dict) or not metrics:
        raise ValueError(
            f"`{name}` must return a dict of metrics with at least one entry, got "
            f"{type(metrics).__name__}."
        )
    arrays = {}
    for entry, value in metrics.items():
        array = _as_number(value)
        if array is None or (scalars and (array.shape or jnp.iscomplexobj(array))):
            kind = "real scalars" if scalars else "arrays, scalars or curves"
            raise ValueError(
                f"`{name}` must return a dict of {kind}, but its entry `{entry}` is "
                f"{type(value).__name__} {value!r}."
            )
        arrays[entry] = jnp.asarray(array, array.dtype)
    return arrays


def check_same_metrics(
    first: Metrics,
    second: Metrics,
    where: tuple[str, str] = ("for some static values", "for others"),
) -> None:
    """Raises ValueError unless the metrics of two groups of trials fit into one array each.

    Args:
        first, second: arrays, or shapes and dtypes, of one trial.
        where: what the two are, for the message.
    """
    if first.keys() != second.keys():
        raise ValueError(
            f"`train` returns the metrics {sorted(first)} {where[0]} and {sorted(second)} "
            f"{where[1]}."
        )
    for name, one in first.items():
        other = second[name]
        is_floating = jnp.issubdtype(one.dtype, jnp.floating)
        is_floating_curve = one.ndim == other.ndim == 1 and is_floating
        if one.dtype != other.dtype or (one.shape != other.shape and not is_floating_curve):
            raise ValueError(
                f"`train` returns `{name}` as {one.dtype} {list(one.shape)} {where[0]} and as "
                f"{other.dtype} {list(other.shape)} {where[1]}."
            )


def as_state(tree: Any, name: str) -> State:
    """The state that the function `name` returned, as arrays without weak types.

    Raises:
        ValueError: a leaf is not an array.
    """

    def as_array(path: tuple, leaf: Any) -> Array:
        try:
            array = jnp.asarray(leaf)
        except TypeError as error:
            raise ValueError(
                f"`{name}` must return a pytree of arrays, but{_describe_path(path)} is "
                f"{type(leaf).__name__} {leaf!r}."
            ) from error
        return array if is_typed_key(array) else jnp.asarray(array, array.dtype)

    return jax.tree_util.tree_map_with_path(as_array, tree)


def check_same_state(before: State, after: State) -> None:
    """Raises ValueError unless `step` keeps the structure, shapes and dtypes of the state."""
    trees: list[Any] = [jax.tree.structure(state) for state in (before, after)]
    if trees[0] != trees[1]:
        raise ValueError(
            "`step` must return a state like the one it is given, but returns the tree "
            f"{trees[1]} for {trees[0]}."
        )
    leaves = jax.tree_util.tree_leaves_with_path(before)
    for (path, one), other in zip(leaves, jax.tree.leaves(after), strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            raise ValueError(
                f"`step` must return a state like the one it is given, but{_describe_path(path)} "
                f"is {other.dtype} {list(other.shape)} and was {one.dtype} {list(one.shape)}."
            )


def _as_number(value: Any) -> Array | None:
    """A value as an array of numbers or bools, or None."""
    numeric = (bool, int, float, complex, np.ndarray, np.generic, Array)
    if not isinstance(value, numeric) and not hasattr(value, "__jax_array__"):
        return None
    try:
        array = jnp.asarray(value)
    except TypeError:
        return None
    is_number = array.dtype == jnp.bool_ or jnp.issubdtype(array.dtype, jnp.number)
    return array if is_number else None


def _describe_path(path: tuple) -> str:
    return f" its entry {jax.tree_util.keystr(path)}" if path else " it"


def constants_of(program: core.ClosedJaxpr) -> Iterator[Any]:
    """The arrays that a program closes over, and those that the programs inside it do."""
    yield from program.consts
    yield from _inner_constants(program.jaxpr)


def _inner_constants(jaxpr: core.Jaxpr) -> Iterator[Any]:
    for eqn in jaxpr.eqns:
        literals = [v.val for v in eqn.invars if isinstance(v, core.Literal)]
        yield from (value for value in literals if np.ndim(value))
        for inner in _inner_programs(eqn):
            if isinstance(inner, core.ClosedJaxpr):
                yield from constants_of(inner)
            else:
                yield from _inner_constants(inner)


def _is_same_program(first: core.ClosedJaxpr, second: core.ClosedJaxpr) -> bool:
    if list(_operations(first.jaxpr)) != list(_operations(second.jaxpr)):
        return False
    constants = [list(constants_of(program)) for program in (first, second)]
    if len(constants[0]) != len(constants[1]):
        return False
    return all(map(_is_same_constant, *constants))


def _operations(jaxpr: core.Jaxpr) -> Iterator[tuple]:
    """Each operation of a program with its literal operands and the types of its results."""
    for eqn in jaxpr.eqns:
        literals = [repr(v.val) for v in eqn.invars if isinstance(v, core.Literal)]
        yield eqn.primitive.name, literals, [str(v.aval) for v in eqn.outvars]
        for inner in _inner_programs(eqn):
            yield from _operations(inner.jaxpr if isinstance(inner, core.ClosedJaxpr) else inner)


def _inner_programs(eqn: Any) -> list[Any]:
    """The programs among the parameters of an operation, such as the body of a loop."""
    parameters = list(eqn.params.values())
    leaves = jax.tree.leaves(parameters, is_leaf=lambda x: isinstance(x, core.Jaxpr))
    return [leaf for leaf in leaves if isinstance(leaf, core.ClosedJaxpr | core.Jaxpr)]


def _is_same_constant(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if is_typed_key(jnp.asarray(a)):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
