"""Trials: a dict with one array per hyperparameter, all of the same length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from grujax.sweep.distributions import Distribution, as_values
from grujax.sweep.plan import key_data

Trials = dict[str, np.ndarray]
Groups = list[tuple[dict[str, Any], np.ndarray]]  # (static values, indices of their trials)


def grid(**values: Iterable[Any]) -> Trials:
    """All combinations of the given values; the last hyperparameter varies fastest.

    Args:
        **values: the values of each hyperparameter.

    Returns:
        A dict of arrays `[n]`, where n is the product of the numbers of values.

    Raises:
        ValueError: for no hyperparameters, or one without values.

    Example:
        >>> trials = grid(learning_rate=[0.1, 0.01], hidden_size=[16, 32])
        >>> trials["learning_rate"].tolist(), trials["hidden_size"].tolist()
        ([0.1, 0.1, 0.01, 0.01], [16, 32, 16, 32])
    """
    if not values:
        raise ValueError("`grid` needs at least one hyperparameter.")
    axes = [as_values(name, list(value)) for name, value in values.items()]
    indices = np.meshgrid(*[np.arange(len(axis)) for axis in axes], indexing="ij")
    return {
        name: axis[index.ravel()] for name, axis, index in zip(values, axes, indices, strict=True)
    }


def sample(key: Array, n: int, *, sobol: bool = False, **distributions: Distribution) -> Trials:
    """Draws n trials, each hyperparameter from its own distribution.

    Args:
        key: a JAX random key.
        n: the number of trials.
        sobol: draw a scrambled Sobol sequence (Sobol' 1967, Owen 1998), which fills the space more
            evenly than independent draws; needs SciPy.
        **distributions: `uniform`, `log_uniform`, `integer` or `choice` for each hyperparameter, or
            any function from numbers in [0, 1) to values.

    Returns:
        A dict of arrays `[n]`.

    Raises:
        ValueError: for n below 1, no hyperparameters, or an argument that is not a distribution.
        ImportError: `sobol` without SciPy.

    Example:
        >>> from grujax.sweep import integer, log_uniform
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
    rng = np.random.default_rng(key_data(key).ravel().astype(np.uint32))
    size = len(distributions)
    points = _sobol_points(rng, n, size) if sobol else rng.random((size, n)).T
    columns = zip(distributions.items(), points.T, strict=True)
    return {name: np.asarray(distribution(column)) for (name, distribution), column in columns}


def count_trials(trials: Mapping[str, Any]) -> int:
    """The number of trials."""
    return len(next(iter(trials.values())))


def check_trials(trials: Mapping[str, Any], static: tuple[str, ...]) -> Trials:
    """Returns the trials as NumPy arrays. Raises ValueError unless `run` can use them."""
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


def group_by(trials: Trials, static: tuple[str, ...]) -> Groups:
    """Groups trials by their static values, in the order in which these first appear."""
    groups: dict[tuple, list[int]] = {}
    for index in range(count_trials(trials)):
        values = tuple(trials[name][index].item() for name in static)
        groups.setdefault(values, []).append(index)
    return [
        (dict(zip(static, values, strict=True)), np.array(indices))
        for values, indices in groups.items()
    ]


def choose_process(
    process: int | None, processes: int | None, trials: int, directory: Path | None
) -> tuple[int, int]:
    """The number of this process, and of how many; JAX's own where None is given.

    Raises:
        ValueError: only one of the two numbers, one out of range, several processes without a
            directory, or more processes than trials.
    """
    if (process is None) != (processes is None):
        raise ValueError(
            f"`process` and `processes` belong together, got {process} and {processes}."
        )
    if process is None or processes is None:
        process, processes = jax.process_index(), jax.process_count()
    if not 0 <= process < processes:
        raise ValueError(
            f"`process` must be 0 to {processes - 1} with {processes} processes, got {process}."
        )
    if processes > 1 and directory is None:
        raise ValueError(f"{processes} processes need a `directory` for their results.")
    if processes > trials:
        raise ValueError(f"{processes} processes cannot share {trials} trials: start fewer.")
    return process, processes


def share_groups(groups: Groups, process: int, processes: int) -> Groups:
    """The share of one of N processes: every Nth trial, counted through all groups."""
    shares, before = [], 0
    for static, indices in groups:
        positions = before + np.arange(len(indices))
        shares.append((static, indices[positions % processes == process]))
        before += len(indices)
    return shares


def _sobol_points(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """`[n, size]` in [0, 1), from a sequence of the next power of two, which is balanced."""
    try:
        from scipy.stats import qmc
    except ImportError as error:
        raise ImportError(
            "`sample(sobol=True)` needs SciPy: pip install 'grujax[sweep]'."
        ) from error
    sequence = qmc.Sobol(size, scramble=True, rng=rng)
    return sequence.random_base2(math.ceil(math.log2(n)))[:n]
