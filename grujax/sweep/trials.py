"""Trials: a plain dict of equally long arrays, one for each hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

Trials = dict[str, np.ndarray]
# The inverse of a cumulative distribution function: numbers in [0, 1) -> values.
Distribution = Callable[[np.ndarray], np.ndarray]


def grid(**values: Iterable[Any]) -> Trials:
    """All combinations of the given values; the last hyperparameter varies fastest.

    Args:
        **values: for each hyperparameter its values.

    Returns:
        A dict of arrays, each as long as the product of the numbers of values.

    Raises:
        ValueError: for no hyperparameters, or one without values.

    Example:
        >>> trials = grid(learning_rate=[0.1, 0.01], hidden_size=[16, 32])
        >>> trials["learning_rate"].tolist(), trials["hidden_size"].tolist()
        ([0.1, 0.1, 0.01, 0.01], [16, 32, 16, 32])
    """
    if not values:
        raise ValueError("`grid` needs at least one hyperparameter.")
    axes = [_values_of(name, list(value)) for name, value in values.items()]
    indices = np.meshgrid(*[np.arange(len(axis)) for axis in axes], indexing="ij")
    return {
        name: axis[index.ravel()] for name, axis, index in zip(values, axes, indices, strict=True)
    }


def sample(key: Array, n: int, *, sobol: bool = False, **distributions: Distribution) -> Trials:
    """Draws n trials, each hyperparameter from its own distribution.

    Args:
        key: a JAX random key.
        n: how many.
        sobol: draw a scrambled Sobol sequence (Sobol' 1967, Owen 1998), which fills the space more
            evenly than independent draws; needs SciPy.
        **distributions: `uniform`, `log_uniform`, `integer` or `choice` of each hyperparameter; or
            any function from numbers in [0, 1) to values.

    Returns:
        A dict of arrays of length n.

    Raises:
        ValueError: for n below 1, no hyperparameters, or what is not a distribution.
        ImportError: `sobol` without SciPy.

    Example:
        >>> trials = sample(
        ...     jax.random.key(0), 4, learning_rate=log_uniform(1e-4, 1e-1), depth=integer(1, 4)
        ... )
        >>> trials["learning_rate"].shape, trials["depth"].dtype.kind
        ((4,), 'i')
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1, got {n}.")
    if not distributions:
        raise ValueError("`sample` needs at least one hyperparameter.")
    for name, distribution in distributions.items():
        if not callable(distribution):
            raise ValueError(
                f"`{name}` must be a distribution, such as `uniform(0, 1)`, got {distribution!r}. "
                f"To draw from given values: `choice(values)`."
            )
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    seed = np.asarray(jax.random.key_data(key) if typed else key)
    rng = np.random.default_rng(seed.ravel().astype(np.uint32))
    size = len(distributions)
    points = _sobol_points(rng, n, size) if sobol else rng.random((size, n)).T
    columns = zip(distributions.items(), points.T, strict=True)
    return {name: np.asarray(distribution(column)) for (name, distribution), column in columns}


def uniform(lo: float, hi: float) -> Distribution:
    """Numbers in [lo, hi), all equally likely."""
    _check_bounds("uniform", lo, hi)
    return lambda u: lo + (hi - lo) * u


def log_uniform(lo: float, hi: float) -> Distribution:
    """Numbers in [lo, hi) whose logarithm is uniform: for learning rates, and what spans decades.

    Raises:
        ValueError: unless 0 < lo < hi.
    """
    _check_bounds("log_uniform", lo, hi)
    if lo <= 0:
        raise ValueError(f"`log_uniform` needs positive bounds, got lo = {lo}.")
    return lambda u: lo * (hi / lo) ** u


def integer(lo: int, hi: int) -> Distribution:
    """Integers lo, …, hi − 1, all equally likely; as in `range`, hi is not among them."""
    _check_bounds("integer", lo, hi)
    return lambda u: lo + _floor((hi - lo) * u)


def choice(values: Sequence[Any]) -> Distribution:
    """One of the given values, all equally likely: numbers, bools or strings."""
    array = _values_of("choice", list(values))

    def draw(u: np.ndarray) -> np.ndarray:
        places = _floor(len(array) * u)
        return array[places] if isinstance(u, np.ndarray) else jnp.asarray(array)[places]

    return draw


def check_trials(trials: Mapping[str, Any], static: tuple[str, ...]) -> Trials:
    """Returns the trials as NumPy arrays; raises ValueError unless `run` can take them."""
    if not isinstance(trials, Mapping) or not trials:
        raise ValueError(
            "`trials` must be a dict with an array for each hyperparameter, as `grid` and "
            f"`sample` make it, got {type(trials).__name__} {trials!r}."
        )
    arrays = {name: np.asarray(values) for name, values in trials.items()}
    for name, array in arrays.items():
        if array.ndim != 1:
            raise ValueError(f"`{name}` must be a 1-D array, got shape {list(array.shape)}.")
        if array.dtype.kind not in "biufUc":
            raise ValueError(
                f"`{name}` must hold numbers, bools or strings, got dtype {array.dtype}."
            )
        if array.dtype.kind == "U" and name not in static:
            raise ValueError(f"`{name}` holds strings, which cannot be traced: add it to `static`.")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        described = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise ValueError(f"All hyperparameters must have equally many values, got {described}.")
    if not all(lengths.values()):
        raise ValueError("`trials` has no trials.")
    unknown = [name for name in static if name not in arrays]
    if unknown:
        names = ", ".join(f"`{name}`" for name in arrays)
        raise ValueError(f"`static` names `{unknown[0]}`, but the hyperparameters are {names}.")
    return arrays


def group_by(trials: Trials, static: tuple[str, ...]) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Groups trials by their static values. Returns: (values by name, indices) of each group."""
    groups: dict[tuple, list[int]] = {}
    for index in range(len(next(iter(trials.values())))):
        values = tuple(trials[name][index].item() for name in static)
        groups.setdefault(values, []).append(index)
    return [
        (dict(zip(static, values, strict=True)), np.array(indices))
        for values, indices in groups.items()
    ]


def _values_of(name: str, values: list[Any]) -> np.ndarray:
    array = np.array(values) if values else np.zeros(0)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"`{name}` must have a list of one or more values, got {values!r}.")
    if array.dtype.kind == "U" and not all(isinstance(value, str) for value in values):
        raise ValueError(f"`{name}` mixes strings with other values: {values!r}.")
    return array


def _floor(u: Any) -> Any:
    """Of arrays of NumPy, and of JAX: a population draws inside its program."""
    return (u // 1).astype(int)


def _check_bounds(name: str, lo: float, hi: float) -> None:
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise ValueError(f"`{name}` needs finite bounds lo < hi, got {lo} and {hi}.")


def _sobol_points(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """`[n, size]` in [0, 1). The sequence is balanced at powers of two, so it is drawn that far."""
    try:
        from scipy.stats import qmc
    except ImportError as error:
        raise ImportError(
            "`sample(sobol=True)` needs SciPy: pip install 'grujax[sweep]'."
        ) from error
    sequence = qmc.Sobol(size, scramble=True, rng=rng)
    return sequence.random_base2(math.ceil(math.log2(n)))[:n]
