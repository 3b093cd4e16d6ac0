"""Who goes on as whom, and with which hyperparameters: what `population` is given as functions.

An `Exploit`, `(key, scores [n]) -> parents [n]`, says for each member whose state and
hyperparameters it takes over; its own number where it keeps them. Greater scores are better; that
of a member with NaN is −∞. An `Explore`, `(key, value []) -> value []`, changes one hyperparameter
of a member that took over another's. Both are traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
from jax import Array

from grujax.sweep.trials import Distribution

Exploit = Callable[[Array, Array], Array]
Explore = Callable[[Array, Array], Array]


@cache  # equal arguments give the same function, for which programs are compiled already
def truncation(fraction: float = 0.25) -> Exploit:
    """Truncation selection: each of the worst becomes one of the best.

    Args:
        fraction: how many are the worst, and how many the best: this share of the members, rounded
            down, but at least one. Members with NaN are replaced in any case, and never copied.

    Returns:
        A function for `population`.

    Raises:
        ValueError: unless 0 < fraction ≤ 1/2.

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
        lo, hi: the bounds, to which the product is clipped.
        factors: all positive. Integers are rounded.

    Returns:
        A function for `population`.

    Raises:
        ValueError: for bounds that are infinite or in the wrong order, or no positive factors.
    """
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise ValueError(f"`perturb` needs finite bounds lo < hi, got {lo} and {hi}.")
    if not factors or not all(0 < factor < math.inf for factor in factors):
        raise ValueError(f"`factors` must be positive numbers, got {factors!r}.")
    return _perturbation(lo, hi, tuple(factors))


def resample(distribution: Distribution, probability: float = 1.0) -> Explore:
    """Draws a hyperparameter anew.

    Args:
        distribution: from which, as `sample` takes it, but traced: `uniform`, `log_uniform`,
            `integer` or `choice`.
        probability: how likely that is; otherwise the value stays.

    Returns:
        A function for `population`.

    Raises:
        ValueError: for what is not a distribution, or a probability outside of (0, 1].
    """
    if not callable(distribution):
        raise ValueError(
            f"`distribution` must be one, such as `uniform(0, 1)`, got {distribution!r}."
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
    drawn = distribution(jax.random.uniform(value_key))  # type: ignore[arg-type]
    return jnp.where(jax.random.bernoulli(choice_key, probability), drawn, value)
