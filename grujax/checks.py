"""One check for each kind of argument.

A check returns the value in the type that the code behind it needs. If the value does not fit, it
raises a ValueError that names the argument, says what it must be, and what it is.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike


def check_bool(name: str, value: Any) -> bool:
    """A bool of Python or NumPy, as Python's. Truth values of other types are refused."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` must be True or False, got {describe(value)}.")
    return bool(value)


def check_integer(name: str, value: Any, minimum: int = 1, maximum: int | None = None) -> int:
    """A concrete integer in this range, of Python, NumPy or JAX; no bool, and no 3.0."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        integer = operator.index(value)
    except TypeError:
        integer = minimum - 1
    if integer < minimum or (maximum is not None and integer > maximum):
        wanted = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        if maximum is not None:
            wanted = f"an integer from {minimum} to {maximum}"
        raise ValueError(f"`{name}` must be {wanted}, got {describe(value)}.")
    return integer


def check_number(name: str, value: Any, interval: str = "(-inf, inf)") -> Any:
    """One real number in an interval such as "[0, 1)", or a traced one, whose value is unknown."""
    if is_traced(value) and jnp.ndim(value) == 0 and _is_real(value.dtype):
        return value
    try:
        array = np.asarray(None if isinstance(value, list | tuple) else value)
        fits = array.ndim == 0 and _is_real(array.dtype) and _contains(interval, float(array))
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        everything = interval == "(-inf, inf)"
        wanted = "a finite number" if everything else f"a number in {interval}"
        raise ValueError(f"`{name}` must be {wanted}, got {describe(value)}.")
    return value


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating)


def _contains(interval: str, number: float) -> bool:
    """Whether the interval contains the number; no interval contains NaN."""
    low, high = map(float, interval[1:-1].split(","))
    above = number >= low if interval[0] == "[" else number > low
    below = number <= high if interval[-1] == "]" else number < high
    return above and below


def check_choice(
    name: str, value: Any, choices: Sequence[str], *, optional: bool = False, other: str = ""
) -> Any:
    """One of these strings, or None if optional; `other` names what else the caller takes."""
    if optional and value is None:
        return None
    if not isinstance(value, str) or value not in choices:
        quoted = [f'"{choice}"' for choice in choices]
        *others, last = ["None"] * optional + [other] * bool(other) + quoted
        wanted = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"`{name}` must be {wanted}, got {describe(value)}.")
    return value


def check_string(name: str, value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError(f"`{name}` must be a string, got {describe(value)}.")
    return value


def check_path(name: str, value: Any) -> Path:
    """The path of a file or folder: a string that is not empty, or a path of `pathlib`."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"`{name}` must be a path, got {describe(value)}.")
    return Path(text)


def check_callable(name: str, value: Any, signature: str = "") -> Any:
    """A function, or anything else that can be called."""
    if not callable(value):
        wanted = f"a function `{signature}`" if signature else "a function"
        raise ValueError(f"`{name}` must be {wanted}, got {describe(value)}.")
    return value


def check_instance(name: str, value: Any, kind: type, maker: str = "") -> Any:
    """An instance of this class; `maker` names the function that makes one."""
    if not isinstance(value, kind):
        origin = f", as `{maker}` returns it" if maker else ""
        raise ValueError(
            f"`{name}` must be an instance of {kind.__name__}{origin}, got {describe(value)}."
        )
    return value


def check_mapping(name: str, value: Any, of: str) -> Mapping[str, Any]:
    """A mapping with string keys; `of` says what it must hold."""
    if not isinstance(value, Mapping):
        raise ValueError(f"`{name}` must be a dict {of}, got {describe(value)}.")
    for key in value:
        if not isinstance(key, str):
            raise ValueError(f"`{name}` must have strings as keys, got the key {describe(key)}.")
    return value


def check_sequence(name: str, value: Any, of: str) -> Sequence[Any]:
    """A list or tuple that is not empty; `of` says what it must hold."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"`{name}` must be a non-empty list of {of}, got {describe(value)}.")
    return value


def check_key(name: str, value: Any) -> Array:
    """One random key of JAX: from `jax.random.key`, or the older `jax.random.PRNGKey`."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ()
    raw = dtype == np.uint32 and shape == jax.eval_shape(lambda: jax.random.PRNGKey(0)).shape
    if not typed and not raw:
        raise ValueError(
            f"`{name}` must be one JAX random key, such as `jax.random.key(0)`, got "
            f"{describe(value)}."
        )
    return value


def check_rate(name: str, value: Any) -> Any:
    """The rate of a regularizer: a number in [0, 1), or traced."""
    return check_number(name, value, "[0, 1)")


def check_dtype(name: str, value: Any) -> DTypeLike:
    """A floating dtype that JAX has."""
    try:
        is_dtype = value is not None and not isinstance(value, np.generic)
        fits = is_dtype and jnp.issubdtype(jnp.dtype(value), jnp.floating)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"`{name}` must be a floating dtype, got {describe(value)}.")
    return value


def as_array(name: str, value: Any) -> Array:
    """An array of JAX from anything that is one, nested lists of numbers included."""
    try:
        if value is None or isinstance(value, Mapping) or not has_an_end(value):
            raise TypeError
        return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"`{name}` must be an array, got {describe(value)}.") from None


def has_an_end(value: Any) -> bool:
    """Whether lists and dicts nest as deep as arrays and trees do. JAX never recovers from one that
    contains itself, and NumPy may hang."""
    level = {0: value}
    for _ in range(64):
        inner = [item for node in level.values() for item in _items(node)]
        level = {id(item): item for item in inner if isinstance(item, list | tuple | Mapping)}
        if not level:
            return True
    return False


def _items(node: Any) -> Iterable[Any]:
    """What a list or a dict holds."""
    if isinstance(node, Mapping):
        return node.values()
    return node if isinstance(node, list | tuple) else ()


def as_arrays(name: str, tree: Any) -> Any:
    """A pytree of arrays of JAX."""
    _leaves(name, tree)
    return jax.tree.map(partial(as_array, name), tree)


def _leaves(name: str, tree: Any) -> list[Any]:
    try:
        if not has_an_end(tree):
            raise RecursionError
        return jax.tree.leaves(tree)
    except (RecursionError, SystemError):  # the second is what JAX makes of the first
        raise ValueError(f"`{name}` must be a pytree of arrays; it contains itself.") from None


def array_leaves(name: str, tree: Any) -> list[Any]:
    """The leaves of a pytree of arrays, or of what has the sizes and dtypes of arrays."""
    leaves = _leaves(name, tree)
    for leaf in leaves:
        if not hasattr(leaf, "size") or not hasattr(leaf, "dtype"):
            raise ValueError(f"`{name}` must hold arrays, got {describe(leaf)}.")
    if not leaves:
        raise ValueError(f"`{name}` holds no arrays, got {describe(tree)}.")
    return leaves


def as_floating(name: str, value: Any) -> Array:
    """An array of floating dtype."""
    array = as_array(name, value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        is_complex = jnp.issubdtype(array.dtype, jnp.complexfloating)
        hint = " Pass real and imaginary parts as separate features." if is_complex else ""
        raise ValueError(f"`{name}` must have a floating dtype, got {array.dtype.name}.{hint}")
    return array


def as_features(name: str, value: ArrayLike, size: int, size_name: str) -> Array:
    """A floating array whose last axis has this size."""
    array = as_floating(name, value)
    if array.ndim == 0 or array.shape[-1] != size:
        raise ValueError(
            f"`{name}` has shape {list(array.shape)} but `params` expect {size_name} {size} "
            "on the last axis."
        )
    return array


def check_batch_axes(operands: Mapping[str, Array]) -> None:
    """The operands of one step, `[B, features]` each: with batch axes that broadcast, or without.

    Those with batch axes have equally many, and a size of 1 serves every size.
    """
    batches = [array.shape[:-1] for array in operands.values() if array.ndim > 1]
    same_number = len(set(map(len, batches))) <= 1
    if not same_number or any(len({*sizes} - {1}) > 1 for sizes in zip(*batches, strict=True)):
        names = " and ".join(f"`{name}`" for name in operands)
        shapes = " and ".join(str(list(array.shape)) for array in operands.values())
        raise ValueError(f"{names} must have equal batch axes, or none, got the shapes {shapes}.")


def check_arrays(params: Any, kind: type, axes: Mapping[str, tuple[int | str, ...]]) -> None:
    """A `kind` of floating arrays with these axes.

    An axis is a size, or a name that stands for the same size, at least 1, everywhere.
    """
    check_instance("params", params, kind)
    arrays = {name: getattr(params, name) for name in axes}
    for name, array in arrays.items():
        if not isinstance(getattr(array, "shape", None), tuple) or not hasattr(array, "dtype"):
            raise ValueError(f"`params.{name}` must be an array, got {describe(array)}.")
    shapes = {name: array.shape for name, array in arrays.items()}
    if not _fit(shapes, axes):
        expected = (f"{name} [{', '.join(map(str, of))}]" for name, of in axes.items())
        got = (f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(
            f"`params` must have the shapes {', '.join(expected)}, no size 0, got "
            f"{', '.join(got)}. Use `jax.vmap` for the stacked parameters of several models."
        )
    if not all(jnp.issubdtype(array.dtype, jnp.floating) for array in arrays.values()):
        got = (f"{name} {array.dtype}" for name, array in arrays.items())
        raise ValueError(f"`params` must have a floating dtype, got {', '.join(got)}.")


def _fit(shapes: Mapping[str, tuple[int, ...]], axes: Mapping[str, tuple[int | str, ...]]) -> bool:
    sizes: dict[str, int] = {}
    return all(
        len(shapes[name]) == len(of)
        and all(
            got == (sizes.setdefault(axis, got) if isinstance(axis, str) else axis) and got != 0
            for got, axis in zip(shapes[name], of, strict=True)
        )
        for name, of in axes.items()
    )


def describe(value: Any) -> str:
    """A value in a message: in full if that is short, else by its type and size."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None and not isinstance(value, np.generic):
        return f"an array of shape {list(shape)} and dtype {dtype}"
    if isinstance(value, list | tuple | Mapping | set | frozenset):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, type) or callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bytes | bool | int | float | complex):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:56]} ..."
    return f"a {type(value).__name__}"


def is_traced(value: Any) -> bool:
    """Whether the value is unknown because JAX traces it."""
    return isinstance(value, jax.core.Tracer)
