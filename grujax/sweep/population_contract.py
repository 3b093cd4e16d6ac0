"""What the functions of a population must be and return: checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from grujax.sweep.purity import Metrics, check_pure
from grujax.sweep.selection import Exploit, Explore

Values = dict[str, Array]
State = Any  # a pytree of arrays

_ADVICE = (
    "All hyperparameters of a population are traced: none can set shapes, and Python itself cannot "
    "branch on one."
)


class Functions(NamedTuple):
    """What a user gives; see `grujax.sweep.population`."""

    init: Callable[..., State]
    step: Callable[..., State]
    evaluate: Callable[..., Metrics]
    exploit: Exploit | None = None
    explore: tuple[tuple[str, Explore], ...] = ()


class Shapes(NamedTuple):
    """Shapes and dtypes, of one member."""

    state: State
    metrics: Metrics


def check_functions(functions: Functions, key: Array, values: Any, scores: Any) -> Shapes:
    """Traces everything. Returns: the shapes and dtypes of one member's state and metrics.

    Args:
        functions: what to check.
        key: any random key of the kind that they will get.
        values: shapes and dtypes of one member's hyperparameters.
        scores: those of all scores.

    Raises:
        ValueError: a function is not pure; `step` returns another kind of state than `init`;
            `evaluate` returns no dict of scalars; or `exploit` or `explore` returns other shapes.
    """

    def check(name: str, call: Callable, *arguments: Any) -> Any:
        return check_pure(call, *arguments, name=name, advice=_ADVICE)

    state = check("init", lambda v: as_state(functions.init(key, **v), "init"), values)
    after = check("step", lambda s, v: as_state(functions.step(key, s, **v), "step"), state, values)
    _check_alike(state, after)
    metrics = check(
        "evaluate", lambda s, v: as_metrics(functions.evaluate(key, s, **v)), state, values
    )
    if functions.exploit is not None:
        exploit = functions.exploit
        parents = check("exploit", lambda scores: jnp.asarray(exploit(key, scores)), scores)
        if parents.shape != scores.shape or not jnp.issubdtype(parents.dtype, jnp.integer):
            raise ValueError(
                f"`exploit` must return an integer for each of {scores.shape[0]} members, got "
                f"{parents.dtype} {list(parents.shape)}."
            )
    for name, function in functions.explore:
        value = values[name]
        changed = check(f"explore[{name!r}]", lambda v, f=function: jnp.asarray(f(key, v)), value)
        if changed.shape != ():
            raise ValueError(
                f"`explore[{name!r}]` must return one value for one, got shape "
                f"{list(changed.shape)}."
            )
    return Shapes(state, metrics)


def as_state(tree: Any, name: str) -> State:
    """A state as arrays whose dtypes are their own, not Python's."""

    def as_array(path: tuple, leaf: Any) -> Array:
        try:
            array = jnp.asarray(leaf)
        except TypeError as error:
            raise ValueError(
                f"`{name}` must return a pytree of arrays, but{_place(path)} is "
                f"{type(leaf).__name__} {leaf!r}."
            ) from error
        return array if is_key(array) else jnp.asarray(array, array.dtype)

    return jax.tree_util.tree_map_with_path(as_array, tree)


def as_metrics(metrics: Any) -> Metrics:
    """Metrics as floating scalars, of at least 32 bits."""
    if not isinstance(metrics, dict) or not metrics:
        raise ValueError(
            "`evaluate` must return a dict of metrics with at least one entry, got "
            f"{type(metrics).__name__}."
        )
    arrays = {}
    for name, value in metrics.items():
        try:
            array = jnp.asarray(value)
            real = array.dtype == jnp.bool_ or jnp.issubdtype(array.dtype, jnp.number)
            real = real and not jnp.issubdtype(array.dtype, jnp.complexfloating)
        except TypeError:
            real = False
        if not real or array.shape:
            raise ValueError(
                f"`evaluate` must return a dict of real scalars, but its entry `{name}` is "
                f"{type(value).__name__} {value!r}."
            )
        arrays[name] = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    return arrays


def _check_alike(before: State, after: State) -> None:
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
                f"`step` must return a state like the one it is given, but{_place(path)} is "
                f"{other.dtype} {list(other.shape)} and was {one.dtype} {list(one.shape)}."
            )


def _place(path: tuple) -> str:
    return f" its entry {jax.tree_util.keystr(path)}" if path else " it"


def is_key(array: Any) -> bool:
    """Whether these are typed random keys, or their shape."""
    return jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)
