"""Exploitation and exploration: which member copies which, and how hyperparameters change then.

An `Exploit`, `(key, scores [n]) -> parents [n]`, names for each member the one whose state and
hyperparameters it copies, or the member itself if it keeps its own. Greater scores are better; the
score of a member with NaN is −∞. An `Explore`, `(key, value []) -> value []`, changes one
hyperparameter of a member that copied another one. Both are traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
from jax import Array

from grujax.sweep.distributions import Distribution, check_bounds

Exploit = Callable[[Array, Array], Array]
Explore = Callable[[Array, Array], Array]


@cache  # equal arguments give the same function, so that its compiled programs are reused
def truncation(fraction: float = 0.25) -> Exploit:
    """Truncation selection: each of the worst members copies one of the best.

    Args:
        fraction: the share of members that count as worst, and as best: rounded down, but at least
            one member. Members with NaN are always replaced, and never copied.

    Returns:
        A function for `population`: `(key, scores [n]) -> parents [n]`.

    Raises:
        ValueError: unless 0 < fraction ≤ 1/2.

    Example:
        >>> exploit = truncation(0.25)
        >>> exploit(jax.random.key(0), jnp.array([3.0, 9.0, 1.0, 5.0])).tolist()
        [0, 1, 1, 3]

    Reference:
        Jaderberg et al. 2017, "Population Based Training of Neural Networks",
        https://arxiv.org/abs/1711.09846
    """
    if not 0 < fraction <= 0.5:
        raise ValueError(f"`fraction` must be above 0 and at most 1/2, got {fraction}.")
    return partial(_truncate, fraction)


def perturb(lo: float, hi: float, factors: tuple[float, ...] = (0.8, 1.25)) -> Explore:
    """Multiplies a hyperparameter by one of the factors, all equally likely.

    Args:
        lo, hi: the bounds to which the product is clipped.
        factors: positive numbers. Integer hyperparameters are rounded.

    Returns:
        A function for `population`: `(key, value []) -> value []`.

    Raises:
        ValueError: for bounds that are infinite or in the wrong order, or no positive factors.

    Example:
        >>> explore = perturb(1e-4, 0.1, factors=(2.0,))
        >>> float(explore(jax.random.key(0), jnp.float32(0.03125)))
        0.0625
    """
    check_bounds("perturb", lo, hi)
    if not factors or not all(0 < factor < math.inf for factor in factors):
        raise ValueError(f"`factors` must be positive numbers, got {factors!r}.")
    return _perturbation(lo, hi, tuple(factors))


def resample(distribution: Distribution, probability: float = 1.0) -> Explore:
    """Draws a new value of a hyperparameter.

    Args:
        distribution: `uniform`, `log_uniform`, `integer` or `choice`; or any function from a number
            in [0, 1) to a value, which is traced.
        probability: of drawing a new value; otherwise the old one stays.

    Returns:
        A function for `population`: `(key, value []) -> value []`.

    Raises:
        ValueError: for an argument that is not a distribution, or a probability outside of (0, 1].

    Example:
        >>> from grujax.sweep import integer
        >>> value = resample(integer(2, 5))(jax.random.key(0), jnp.int32(64))
        >>> int(value) in (2, 3, 4)
        True
    """
    if not callable(distribution):
        raise ValueError(
            f"`distribution` must be a distribution, such as `uniform(0, 1)`, got {distribution!r}."
        )
    if not 0 < probability <= 1:
        raise ValueError(f"`probability` must be above 0 and at most 1, got {probability}.")
    return partial(_draw, distribution, probability)


def _truncate(fraction: float, key: Array, scores: Array) -> Array:
    n = len(scores)
    count = max(1, int(fraction * n))
    order = jnp.argsort(-scores)  # the best first
    rank = jnp.argsort(order)
    failed = scores == -jnp.inf
    best = jnp.minimum(count, n - failed.sum())
    donors = order[jax.random.randint(key, (n,), 0, jnp.maximum(best, 1))]
    replaced = ((rank >= n - count) | failed) & (best > 0)
    return jnp.where(replaced, donors, jnp.arange(n))


@cache
def _perturbation(lo: float, hi: float, factors: tuple[float, ...]) -> Explore:
    return partial(_perturb, lo, hi, factors)


def _perturb(lo: float, hi: float, factors: tuple[float, ...], key: Array, value: Array) -> Array:
    product = jnp.clip(value * jax.random.choice(key, jnp.array(factors)), lo, hi)
    return product if jnp.issubdtype(value.dtype, jnp.inexact) else jnp.round(product)


def _draw(distribution: Distribution, probability: float, key: Array, value: Array) -> Array:
    choice_key, value_key = jax.random.split(key)
    drawn = distribution(jax.random.uniform(value_key))
    return jnp.where(jax.random.bernoulli(choice_key, probability), drawn, value)
