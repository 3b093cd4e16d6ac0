"""Distributions of hyperparameters: functions from numbers in [0, 1) to values.

Each is the inverse of a cumulative distribution function, so that independent numbers, a Sobol
sequence and a traced number inside a population can all be turned into hyperparameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

Distribution = Callable[[Any], Any]  # numbers in [0, 1), of NumPy or JAX -> values of that shape


def uniform(lo: float, hi: float) -> Distribution:
    """Numbers in [lo, hi), all equally likely.

    Args:
        lo, hi: finite bounds, lo < hi.

    Returns:
        A distribution for `sample` and `resample`: numbers of any shape in [0, 1) to values.

    Raises:
        ValueError: unless lo < hi and both are finite.

    Example:
        >>> uniform(2.0, 6.0)(np.array([0.0, 0.5])).tolist()
        [2.0, 4.0]
    """
    check_bounds("uniform", lo, hi)
    return lambda u: lo + (hi - lo) * u


def log_uniform(lo: float, hi: float) -> Distribution:
    """Numbers in [lo, hi) whose logarithm is uniform, for values that span orders of magnitude.

    Args:
        lo, hi: finite bounds, 0 < lo < hi.

    Returns:
        A distribution for `sample` and `resample`: numbers of any shape in [0, 1) to values.

    Raises:
        ValueError: unless 0 < lo < hi and both are finite.

    Example:
        >>> float(log_uniform(1e-4, 1.0)(0.5))  # halfway between the exponents
        0.01
    """
    check_bounds("log_uniform", lo, hi)
    if lo <= 0:
        raise ValueError(f"`log_uniform` needs positive bounds, got lo = {lo}.")
    return lambda u: lo * (hi / lo) ** u


def integer(lo: int, hi: int) -> Distribution:
    """Integers from lo to hi − 1, all equally likely; as in `range`, hi is excluded.

    Args:
        lo, hi: finite bounds, lo < hi.

    Returns:
        A distribution for `sample` and `resample`: numbers of any shape in [0, 1) to values.

    Raises:
        ValueError: unless lo < hi and both are finite.

    Example:
        >>> integer(1, 4)(np.array([0.0, 0.5, 0.99])).tolist()
        [1, 2, 3]
    """
    check_bounds("integer", lo, hi)
    return lambda u: lo + _floor((hi - lo) * u)


def choice(values: Sequence[Any]) -> Distribution:
    """One of the given values, all equally likely.

    Args:
        values: one or more numbers, bools or strings.

    Returns:
        A distribution for `sample` and `resample`: numbers of any shape in [0, 1) to values.

    Raises:
        ValueError: for no values, or strings mixed with other values.

    Example:
        >>> choice(["gru", "lstm"])(np.array([0.1, 0.9])).tolist()
        ['gru', 'lstm']
    """
    array = as_values("choice", list(values))

    def draw(u: Any) -> Any:
        indices = _floor(len(array) * u)
        return array[indices] if isinstance(u, np.ndarray) else jnp.asarray(array)[indices]

    return draw


def as_values(name: str, values: list[Any]) -> np.ndarray:
    """A list as a 1-D array. Raises ValueError if it is empty, nested, or mixes in strings."""
    array = np.array(values) if values else np.zeros(0)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"`{name}` must have a list of one or more values, got {values!r}.")
    if array.dtype.kind == "U" and not all(isinstance(value, str) for value in values):
        raise ValueError(f"`{name}` mixes strings with other values: {values!r}.")
    return array


def check_bounds(name: str, lo: float, hi: float) -> None:
    """Raises ValueError unless the bounds of the function `name` are finite and lo < hi."""
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise ValueError(f"`{name}` needs finite bounds lo < hi, got {lo} and {hi}.")


def _floor(u: Any) -> Any:
    return (u // 1).astype(int)  # works for arrays of NumPy and of JAX
