"""Trials: a dict with one array per hyperparameter, all of the same length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

from grujax.checks import check_bool, check_integer, check_mapping, describe
from grujax.sweep.distributions import Distribution, check_distribution
from grujax.sweep.plan import key_data, key_type
from grujax.sweep.values import MOST, as_values, check_fit

Trials = dict[str, np.ndarray]
Groups = list[tuple[dict[str, Any], np.ndarray]]  # (static values, indices of their trials)


def grid(**values: Iterable[Any]) -> Trials:
    """All combinations of the given values; the last hyperparameter varies fastest.

    Args:
        **values: the values of each hyperparameter.

    Returns:
        A dict of arrays `[n]`, where n is the product of the numbers of values.

    Raises:
        ValueError: for no hyperparameters, one without values or with values that one array cannot
            hold unchanged, or more than 2³¹ − 1 combinations.

    Example:
        >>> trials = grid(learning_rate=[0.1, 0.01], hidden_size=[16, 32])
        >>> trials["learning_rate"].tolist(), trials["hidden_size"].tolist()
        ([0.1, 0.1, 0.01, 0.01], [16, 32, 16, 32])
    """
    if not values:
        raise ValueError("`grid` needs at least one hyperparameter.")
    axes = [as_values(name, value) for name, value in values.items()]
    total = math.prod(len(axis) for axis in axes)
    if total > MOST:
        raise ValueError(f"`grid` makes at most {MOST} trials, and here are {total}.")
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
        ValueError: for n that is not a positive integer, a key that is none, no hyperparameters,
            an argument that is not a distribution, or one whose values `run` cannot use: they are
            not n numbers, bools or strings, or JAX would change them (see `run`).
        ImportError: `sobol` without SciPy.

    Example:
        >>> from grujax.sweep import integer, log_uniform
        >>> trials = sample(
        ...     jax.random.key(0), 4, learning_rate=log_uniform(1e-4, 1e-1), depth=integer(1, 4)
        ... )
        >>> trials["learning_rate"].shape, trials["depth"].dtype.kind
        ((4,), 'i')
    """
    key_type(key)  # raises unless it is a key
    n = check_integer("n", n, 1, MOST)
    sobol = check_bool("sobol", sobol)
    if not distributions:
        raise ValueError("`sample` needs at least one hyperparameter.")
    for name, distribution in distributions.items():
        check_distribution(name, distribution)
    rng = np.random.default_rng(key_data(key).ravel().astype(np.uint32))
    size = len(distributions)
    points = _sobol_points(rng, n, size) if sobol else rng.random((size, n)).T
    columns = zip(distributions.items(), points.T, strict=True)
    return {name: draw(name, distribution, column) for (name, distribution), column in columns}


def count_trials(trials: Mapping[str, Any]) -> int:
    """The number of trials."""
    return len(next(iter(trials.values())))


def check_trials(trials: Any, static: Sequence[str] | None = None) -> Trials:
    """Returns the trials as NumPy arrays. Raises ValueError unless they can run.

    Args:
        trials: a dict of the values of each hyperparameter.
        static: the hyperparameters that are not traced, which can be strings and any numbers. None
            if there is no such choice.
    """
    check_mapping("trials", trials, "with an array for each hyperparameter")
    if not trials:
        raise ValueError("`trials` must have at least one hyperparameter, got an empty dict.")
    arrays = {name: as_values(name, values) for name, values in trials.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        described = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise ValueError(
            f"All hyperparameters of `trials` must have equally many values, got {described}."
        )
    for name in static or ():
        if name not in arrays:
            names = ", ".join(f"`{name}`" for name in arrays)
            raise ValueError(f"`static` names `{name}`, but the hyperparameters are {names}.")
    for name, array in arrays.items():
        if name in (static or ()):
            continue
        if array.dtype.kind == "U":
            advice = "" if static is None else ": add it to `static`"
            raise ValueError(f"`{name}` holds strings, which cannot be traced{advice}.")
        check_fit(name, array)
    return arrays


def check_static(static: Any) -> tuple[str, ...]:
    """The names of static hyperparameters. Raises ValueError unless it is a list of strings."""
    is_list = isinstance(static, Sequence | Set) and not isinstance(static, str | bytes)
    if not is_list or not all(isinstance(name, str) for name in static):
        raise ValueError(f"`static` must be a list of strings, got {describe(static)}.")
    return tuple(static)


def group_by(trials: Trials, static: tuple[str, ...]) -> Groups:
    """Groups trials by their static values, in the order in which these first appear."""
    groups: dict[str, tuple[dict[str, Any], list[int]]] = {}
    for index in range(count_trials(trials)):
        values = {name: trials[name][index].item() for name in static}
        groups.setdefault(repr(values), (values, []))[1].append(index)  # 0.0 is not -0.0
    return [(values, np.array(indices)) for values, indices in groups.values()]


def choose_process(
    process: int | None, processes: int | None, trials: int, directory: Path | None
) -> tuple[int, int]:
    """The number of this process, and of how many; JAX's own where None is given.

    Raises:
        ValueError: only one of the two numbers, one that is no integer or out of range, several
            processes without a directory, or more processes than trials.
    """
    if (process is None) != (processes is None):
        raise ValueError(
            f"`process` and `processes` belong together, got {process} and {processes}."
        )
    if process is None or processes is None:
        process, processes = jax.process_index(), jax.process_count()
    processes = check_integer("processes", processes)
    process = check_integer("process", process, 0, processes - 1)
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


def draw(name: str, distribution: Distribution, points: np.ndarray) -> np.ndarray:
    """The values of a distribution `[n]` at points `[n]`, as `run` can use them."""
    try:
        drawn = distribution(points)
    except Exception as error:
        raise ValueError(
            f"`{name}` must turn an array of numbers in [0, 1) into values, but raises "
            f"{type(error).__name__}: {error}"
        ) from error
    values = as_values(name, drawn)
    if len(values) != len(points):
        raise ValueError(
            f"`{name}` must make a value of each number, but makes {len(values)} of {len(points)}."
        )
    if values.dtype.kind != "U":
        check_fit(name, values)
    return values


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
