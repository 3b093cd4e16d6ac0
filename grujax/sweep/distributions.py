"""Distributions of hyperparameters: functions from numbers in [0, 1) to values.

Each is the inverse of a cumulative distribution function, so that independent numbers, a Sobol
sequence and a traced number inside a population can all be turned into hyperparameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from grujax.checks import check_integer, describe
from grujax.sweep.values import as_values, check_fit, concrete_number

Distribution = Callable[[Any], Any]  # numbers in [0, 1), of NumPy or JAX -> values of that shape

_LEAST, _GREATEST = -(2**63), 2**63 - 1  # of int64


def uniform(lo: float, hi: float) -> Distribution:
    """Numbers in [lo, hi), all equally likely.

    Args:
        lo, hi: finite bounds, lo < hi.

    Returns:
        A distribution for `sample` and `resample`: numbers of any shape in [0, 1) to values.

    Raises:
        ValueError: unless both are finite numbers, lo < hi, and hi − lo is finite. In `resample`
            all three must fit JAX's floats.

    Example:
        >>> uniform(2.0, 6.0)(np.array([0.0, 0.5])).tolist()
        [2.0, 4.0]
    """
    lo, hi = check_bounds(lo, hi)
    if not math.isfinite(hi - lo):
        raise ValueError(f"`hi` - `lo` must be finite, got {hi} and {lo}.")
    return partial(_uniform, lo, hi)


def log_uniform(lo: float, hi: float) -> Distribution:
    """Numbers in [lo, hi) whose logarithm is uniform, for values that span orders of magnitude.

    Args:
        lo, hi: finite bounds, 0 < lo < hi.

    Returns:
        A distribution for `sample` and `resample`: numbers of any shape in [0, 1) to values.

    Raises:
        ValueError: unless both are finite numbers, 0 < lo < hi, and hi/lo is finite. In `resample`
            all three must fit JAX's floats.

    Example:
        >>> float(log_uniform(1e-4, 1.0)(0.5))  # halfway between the exponents
        0.01
    """
    lo, hi = check_bounds(lo, hi)
    if lo <= 0:
        raise ValueError(f"`lo` must be positive, got {lo}.")
    if not math.isfinite(hi / lo):
        raise ValueError(f"`hi` / `lo` must be finite, got {hi} and {lo}.")
    return partial(_log_uniform, lo, hi)


def integer(lo: int, hi: int) -> Distribution:
    """Integers from lo to hi − 1, all equally likely; as in `range`, hi is excluded.

    Args:
        lo, hi: integers of 64 bits, lo < hi.

    Returns:
        A distribution for `sample` and `resample`: numbers of any shape in [0, 1) to values.

    Raises:
        ValueError: unless both are integers, lo < hi, and hi − lo is at most 2⁵³. In `resample`
            they must fit JAX's integers, and hi − lo is at most 2²³ without `JAX_ENABLE_X64`: so
            many numbers there are to draw from.

    Example:
        >>> integer(1, 4)(np.array([0.0, 0.5, 0.99])).tolist()
        [1, 2, 3]
    """
    lo = check_integer("lo", lo, _LEAST, _GREATEST)
    hi = check_integer("hi", hi, _LEAST, _GREATEST)
    check_bounds(lo, hi)
    _check_number("hi - lo", hi - lo, 2**53)
    return partial(_integer, lo, hi)


def choice(values: Sequence[Any]) -> Distribution:
    """One of the given values, all equally likely.

    Args:
        values: one or more numbers, bools or strings.

    Returns:
        A distribution for `sample` and `resample`: numbers of any shape in [0, 1) to values.

    Raises:
        ValueError: for no values, or strings or bools mixed with other values. In `resample` they
            are no strings, and must fit JAX's numbers.

    Example:
        >>> choice(["gru", "lstm"])(np.array([0.1, 0.9])).tolist()
        ['gru', 'lstm']
    """
    return partial(_choose, as_values("values", values))


def check_bounds(lo: Any, hi: Any) -> tuple[Any, Any]:
    """The bounds as Python numbers. Raises ValueError unless they are finite and lo < hi."""
    lo, hi = concrete_number("lo", lo), concrete_number("hi", hi)
    if lo >= hi:
        raise ValueError(f"`lo` must be below `hi`, got {lo} and {hi}.")
    return lo, hi


def check_distribution(name: str, value: Any) -> Distribution:
    """Raises ValueError unless it is a function; a class is none."""
    if not callable(value) or isinstance(value, type):
        raise ValueError(
            f"`{name}` must be a distribution, such as `uniform(0, 1)`, got {describe(value)}. To "
            "draw from given values: `choice(values)`."
        )
    return value


def kind_of(distribution: Distribution) -> tuple[str, tuple[Any, ...]]:
    """The function of this module that made it, and its arguments; ("", ()) for any other one."""
    kinds = {
        _uniform: "uniform",
        _log_uniform: "log_uniform",
        _integer: "integer",
        _choose: "choice",
    }
    if isinstance(distribution, partial) and distribution.func in kinds:
        return kinds[distribution.func], distribution.args
    return "", ()


def _uniform(lo: float, hi: float, u: Any) -> Any:
    if isinstance(u, Array):
        _check_floats(u, {"lo": lo, "hi": hi, "hi - lo": hi - lo})
    return lo + (hi - lo) * u


def _log_uniform(lo: float, hi: float, u: Any) -> Any:
    if isinstance(u, Array):
        _check_floats(u, {"lo": lo, "hi": hi, "hi / lo": hi / lo})
    return lo * (hi / lo) ** u


def _integer(lo: int, hi: int, u: Any) -> Any:
    if isinstance(u, Array):
        check_fit("lo", lo)
        check_fit("hi - 1", hi - 1)
        _check_number("hi - lo", hi - lo, 2 ** jnp.finfo(u.dtype).nmant)
    return lo + _floor((hi - lo) * u)


def _choose(array: np.ndarray, u: Any) -> Any:
    if not isinstance(u, Array):
        return array[_floor(len(array) * u)]
    if array.dtype.kind == "U":
        raise ValueError("`values` holds strings, which cannot be traced.")
    check_fit("values", array)
    return jnp.asarray(array)[_floor(len(array) * u)]


def _check_floats(u: Array, constants: dict[str, float]) -> None:
    for name, constant in constants.items():
        check_fit(name, float(constant), u.dtype)


def _check_number(name: str, number: int, most: int) -> None:
    """Raises ValueError if there are more values than different numbers in [0, 1) to draw from."""
    if number > most:
        raise ValueError(f"`{name}` must be at most {most}, got {number}.")


def _floor(u: Any) -> Any:
    numpy = jnp if isinstance(u, Array) else np
    return numpy.floor(u).astype(int)
