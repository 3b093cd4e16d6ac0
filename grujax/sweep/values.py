"""The values of hyperparameters: which ones an array holds, and which ones JAX runs unchanged.

JAX computes with 32 bits unless `JAX_ENABLE_X64` is set. Numbers that do not fit would wrap around,
or turn into 0 or infinity: they are refused. Rounding, as that of 0.1, is not a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import islice
from typing import Any

import jax
import numpy as np
from jax.typing import DTypeLike

from grujax.checks import check_number, describe, has_an_end, is_traced

MOST = 2**31 - 1  # trials, rounds and members are counted in int32
_MOST_DRAWN = 2**20  # from an iterator, which might never end


def as_values(name: str, values: Any) -> np.ndarray:
    """A list or array of numbers, bools or strings as a NumPy array `[n]`.

    Raises:
        ValueError: it is none, is empty, masked or nested; or one array cannot hold its values
            unchanged, such as strings or bools mixed with numbers, or integers beyond 64 bits.
    """
    if np.ma.is_masked(values):
        raise ValueError(f"`{name}` must be a list of values, none of them masked.")
    is_array = hasattr(values, "__array__")
    items = values if is_array else _items(name, values)
    try:
        if not has_an_end(items):
            raise TypeError
        array = np.asarray(items)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"`{name}` must be a list of values, got {describe(values)}.") from None
    if array.ndim != 1:
        raise ValueError(f"`{name}` must be a 1-D array, got shape {list(array.shape)}.")
    if not len(array):
        raise ValueError(f"`{name}` must have one or more values, got {describe(values)}.")
    if array.dtype.kind not in "biufUc" or array.dtype.char in "gG":  # JAX has no long double
        raise ValueError(f"`{name}` must hold numbers, bools or strings, got dtype {array.dtype}.")
    if not is_array:
        _check_same(name, items, array)
    return array


def check_fit(name: str, values: Any, dtype: DTypeLike | None = None) -> None:
    """Raises ValueError if JAX would change one of the values.

    Args:
        name: of the argument or hyperparameter.
        values: numbers or bools of any shape.
        dtype: that they get; by default the one in which JAX represents arrays of their own dtype.
    """
    array = np.asarray(values)
    target = jax.dtypes.canonicalize_dtype(array.dtype if dtype is None else dtype)
    changed = array[_is_changed(array, target)]
    if changed.size:
        advice = ""
        if array.dtype.itemsize > target.itemsize:
            advice = f" With JAX_ENABLE_X64=1 it is {array.dtype}."
        raise ValueError(
            f"`{name}` holds {changed[0]!s}, which does not fit {target}, the dtype that JAX "
            f"computes with: {_range(target)}.{advice}"
        )


def concrete_number(name: str, value: Any, interval: str = "(-inf, inf)") -> Any:
    """One number in an interval as Python's int or float. Raises ValueError for anything else."""
    if is_traced(value):
        raise ValueError(f"`{name}` must be a number that is known before tracing.")
    return np.asarray(check_number(name, value, interval)).item()


def _items(name: str, values: Any) -> list[Any]:
    """What an iterable holds, in its order."""
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise ValueError(f"`{name}` must be a list of values, got {describe(values)}.")
    items = list(islice(values, _MOST_DRAWN + 1) if isinstance(values, Iterator) else values)
    if isinstance(values, Iterator) and len(items) > _MOST_DRAWN:
        raise ValueError(f"`{name}` yields more than {_MOST_DRAWN} values: pass a list.")
    return items


def _check_same(name: str, items: list[Any], array: np.ndarray) -> None:
    """Raises ValueError unless the array holds these items as they are."""
    kinds = {np.asarray(item).dtype.kind for item in items}
    for kind, word in (("U", "strings"), ("b", "bools")):
        if kind in kinds and len(kinds) > 1:
            raise ValueError(f"`{name}` mixes {word} with other values.")
    for item, stored in zip(items, array.tolist(), strict=True):
        if item != stored and item == item:  # NaN differs from itself
            raise ValueError(f"`{name}` holds {item!r}, which {array.dtype} cannot hold.")


def _is_changed(array: np.ndarray, target: np.dtype) -> np.ndarray:
    """Which values conversion to the target would change beyond rounding."""
    if target.kind == "b":
        return np.zeros(array.shape, bool)
    if target.kind in "iu":
        limits = np.iinfo(target)
        return (array < limits.min) | (array > limits.max)
    if array.dtype.kind == "c":
        part = np.empty(0, target).real.dtype
        return _is_changed(array.real, part) | _is_changed(array.imag, part)
    with np.errstate(over="ignore", under="ignore"):
        converted = array.astype(target)
    overflows = np.isfinite(array) & ~np.isfinite(converted)
    return overflows | ((array != 0) & (np.abs(converted) < _least(target)))


def _least(dtype: np.dtype) -> float:
    """The least positive number that computations keep; XLA sets subnormal numbers to zero."""
    limits = np.finfo(dtype)
    return float(limits.smallest_subnormal if dtype.itemsize < 4 else limits.tiny)


def _range(dtype: np.dtype) -> str:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return f"{limits.min} to {limits.max}"
    return f"0, or from {_least(dtype):.3g} to {float(np.finfo(dtype).max):.3g} in absolute value"
